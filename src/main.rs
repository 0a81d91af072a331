//! The `portcullis` command: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;

use portcullis::cli::{Command, Exit};

/// An inline, Web3Signer-compatible signing gate for Ethereum validators
#[derive(Parser)]
#[command(name = "portcullis", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match Arguments::parse().command.run() {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("portcullis: {error:#}");
            Exit::of(&error).into()
        }
    }
}
