//! No configuration makes the loader panic, whatever it says of it.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portcullis::config::{Config, RunArgs};

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::temp_dir().join(format!("portcullis-fuzz-{}.toml", std::process::id()))
});

fuzz_target!(|text: &str| {
    // The loader reads the files that it is told of, and a device may never end.
    if text.contains("dev") || text.contains("proc") || text.contains("\\u") {
        return;
    }
    fs::write(&*FILE, text).expect("a temporary file");
    let args = RunArgs { config: FILE.clone(), ..RunArgs::default() };
    match Config::load(&args, []) {
        Ok(config) => assert!(!config.effective().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
