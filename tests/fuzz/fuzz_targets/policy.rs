//! No policy document makes its reader panic; what is accepted can be told, and is itself.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use policy::ClientIndex;
use portcullis::config::policy::{KeyPlace, Known, changes, parse, summary};

fuzz_target!(|text: &str| {
    let groups = ["default", "customer-a", "customer-b"].map(str::to_owned);
    let known = Known {
        groups: &groups,
        is_client: &|name| name.starts_with("vc-"),
        client_place: &|name| ClientIndex(name.len() as u16),
        key_place: &|key| match key[0] % 3 {
            0 => KeyPlace::At(u32::from(key[1])),
            1 => KeyPlace::Unknown,
            _ => KeyPlace::NoTable,
        },
    };
    let path = Path::new("policy.toml");
    match parse(path, text, &known) {
        Ok(policy) => {
            assert_eq!(policy.groups.len(), groups.len());
            assert!(!summary(&policy, &|place| place.to_string()).is_empty());
            assert_eq!(changes(&policy, &policy), Vec::<String>::new());
            assert_eq!(parse(path, text, &known).ok(), Some(policy), "it says the same again");
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));
        }
    }
});
