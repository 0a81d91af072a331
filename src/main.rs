//! The `portcullis` command: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;

use portcullis::cli::{Command, Exit, in_place_of};

/// An inline, Web3Signer-compatible signing gate for Ethereum validators
#[derive(Parser)]
#[command(name = "portcullis", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            if let Some(instead) = in_place_of(&error) {
                eprintln!("portcullis: {instead}");
                return Exit::Usage.into();
            }
            error.exit();
        }
    };
    match arguments.command.run() {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("portcullis: {error:#}");
            Exit::of(&error).into()
        }
    }
}
