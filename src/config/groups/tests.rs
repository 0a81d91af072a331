#![allow(clippy::unwrap_used)]

use std::fs;

use crate::config::tests::{MINIMAL, load, problems, with};
use crate::config::{Config, RunArgs};

#[test]
fn a_key_is_in_the_group_that_names_it_or_else_in_that_of_all() {
    let text = with(&format!(
        "[[groups]]\nname = 'rest'\nall = true\nallow_deposit = true\n\
         [[groups]]\nname = 'leaving'\nkeys = ['0x{}']\nallow_voluntary_exit = true\n\
         voluntary_exits_group_max = 3",
        "11".repeat(48)
    ));
    let groups = load(&text).unwrap().groups;
    let (index, leaving) = groups.of(&[0x11; 48]).unwrap();
    assert_eq!((index, leaving.name.as_str()), (1, "leaving"));
    assert!(leaving.allow_voluntary_exit && !leaving.allow_deposit);
    assert_eq!((leaving.voluntary_exits_max, leaving.voluntary_exits_group_max), (1, 3));
    let (_, rest) = groups.of(&[0x22; 48]).unwrap();
    assert!(rest.allow_deposit && !rest.allow_voluntary_exit);
    assert!(load(MINIMAL).unwrap().groups.of(&[0x11; 48]).is_none());
}

#[test]
fn wrong_groups_are_refused() {
    let key = format!("0x{}", "11".repeat(48));
    for (groups, wrong) in [
        ("[[groups]]\nname = 'a'".to_owned(), "groups[0]: exactly one of keys"),
        (format!("[[groups]]\nname = 'a'\nall = true\nkeys = ['{key}']"), "exactly one of keys"),
        ("[[groups]]\nall = true".to_owned(), "groups[0].name: is required"),
        ("[[groups]]\nname = 'a'\nkeys = ['0x11']".to_owned(), "groups[0].keys[0]: `0x11` is not"),
        (format!("[[groups]]\nname = 'a'\nkeys = ['{key}', '{key}']"), "is named twice"),
        (
            "[[groups]]\nname='a'\nall=true\n[[groups]]\nname='b'\nall=true".to_owned(),
            "18:5: groups[1].all: a second group of all keys",
        ),
        (
            format!("[[groups]]\nname='a'\nall=true\n[[groups]]\nname='a'\nkeys=['{key}']"),
            "another group is named `a`",
        ),
        (
            "[[groups]]\nname='a'\nall=true\ndeposits_max=0".to_owned(),
            "groups[0].deposits_max: 0 is not between 1 and 4294967295",
        ),
    ] {
        let found = problems(&with(&groups));
        assert!(found.iter().any(|line| line.contains(wrong)), "{wrong}: {found:?}");
    }
}

#[test]
fn keys_are_read_from_a_file() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("portcullis.toml");
    fs::write(&path, with("[[groups]]\nname = 'a'\nkeys_file = 'keys.txt'")).unwrap();
    let load = || Config::load(&RunArgs { config: path.clone(), ..RunArgs::default() }, []);
    let missing = load().unwrap_err().to_string();
    assert!(missing.contains("groups[0].keys_file: cannot read "), "{missing}");

    let key = |digits: &str| format!("0x{}", digits.repeat(48));
    let keys = home.path().join("keys.txt");
    fs::write(&keys, format!("# leaving\n\n{} # first\n  {}\n", key("aa"), key("Bb"))).unwrap();
    let config = load().unwrap();
    assert!(config.groups.of(&[0xaa; 48]).is_some() && config.groups.of(&[0xbb; 48]).is_some());
    assert!(config.effective().contains("keys.txt\" # 2 keys"), "{}", config.effective());

    fs::write(&keys, format!("{}\nnonsense\n", key("aa"))).unwrap();
    let wrong = load().unwrap_err().to_string();
    assert!(wrong.contains("keys.txt:2: `nonsense` is not 0x and 96"), "{wrong}");
}
