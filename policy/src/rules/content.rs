//! What is asked for: headers, fee recipients, registrations, exits, deposits.

use super::client::client_name;
use super::{Case, Word, word};
use crate::key::root;
use crate::{Level, Message, WindowKind};

/// A registration this far ahead of the clock is refused (D19): a relay keeps the newest, so one
/// from the future would stand for good.
const REGISTRATION_AHEAD_S: u64 = 10;

/// P04: a header with a root of zeros cannot be a block's.
pub(crate) fn header(case: &Case<'_>) -> Word {
    let Message::Block { header, .. } = case.seen.message else { return None };
    let zeros = [
        (header.zero_parent_root, "parent_root"),
        (header.zero_state_root, "state_root"),
        (header.zero_body_root, "body_root"),
    ];
    let (_, what) = zeros.into_iter().find(|(is_zero, _)| *is_zero)?;
    word(true, Level::Refuse, what, || ("0x00..00".to_owned(), "a root".to_owned()))
}

/// D20: the fee recipient of a block, where the request shows it.
pub(crate) fn block_fee_recipient(case: &Case<'_>) -> Word {
    let Message::Block { header, .. } = case.seen.message else { return None };
    let right = &case.group.fee_recipients;
    let is_broken = match header.fee_recipient {
        _ if header.has_broken_proof => true,
        Some(found) => !right.is_empty() && !right.contains(&found),
        None => case.group.require_block_proofs,
    };
    word(is_broken, Level::Refuse, "block.fee_recipient", || {
        let observed = match header.fee_recipient {
            _ if header.has_broken_proof => "a proof that does not lead to this header".to_owned(),
            Some(found) => hex(&found),
            None => "no proof of the fee recipient".to_owned(),
        };
        (observed, expected(case, right))
    })
}

/// D19: what a registration promises to the relays. Its rate is no evidence, its content is.
pub(crate) fn registration(case: &Case<'_>) -> Word {
    let Message::Registration { fee_recipient, gas_limit, timestamp_s } = case.seen.message else {
        return None;
    };
    let right = &case.group.fee_recipients;
    if !right.is_empty() && !right.contains(&fee_recipient) {
        let evidence = || (hex(&fee_recipient), expected(case, right));
        return word(true, Level::Refuse, "registration.fee_recipient", evidence);
    }
    if let Some((min, max)) = case.group.gas_limit
        && !(min..=max).contains(&gas_limit)
    {
        let evidence = || (gas_limit.to_string(), format!("{min} to {max}"));
        return word(true, Level::Refuse, "registration.gas_limit", evidence);
    }
    let latest = case.seen.at.unix_ms / 1000 + REGISTRATION_AHEAD_S;
    if timestamp_s > latest {
        let evidence = || (timestamp_s.to_string(), format!("at most {latest}"));
        return word(true, Level::Refuse, "registration.timestamp", evidence);
    }
    let last = u64::from(case.key.ledger.registered_s);
    word(timestamp_s < last, Level::Alert, "registration.timestamp", || {
        (timestamp_s.to_string(), format!("at least {last}, that of the one before"))
    })
}

/// D17: an exit inside an approved window, from a client that may ask for it. One that waits costs
/// nothing; one that is signed is valid for ever (EIP-7044).
pub(crate) fn exit(case: &Case<'_>) -> Word {
    let Message::VoluntaryExit { .. } = case.seen.message else { return None };
    if !case.group.exit_clients.contains(&case.seen.source.client) {
        return word(true, Level::Hold, "client", || {
            let expected = format!("a client that may exit keys of group {}", case.group.name);
            (client_name(case).to_owned(), expected)
        });
    }
    let window = case.window(|window| window.kind == WindowKind::Exits);
    word(window.is_none(), Level::Hold, "window", || {
        ("no exits window holds for this key now".to_owned(), "an approved one".to_owned())
    })
}

/// D18: a deposit to the operator's own credentials, once. Another one, to top up, needs a window.
pub(crate) fn deposit(case: &Case<'_>) -> Word {
    let Message::Deposit { withdrawal_credentials, .. } = case.seen.message else { return None };
    if !case.group.withdrawal_credentials.contains(&withdrawal_credentials) {
        return word(true, Level::Refuse, "deposit.withdrawal_credentials", || {
            let listed = case.group.withdrawal_credentials.len();
            (hex(&withdrawal_credentials), format!("one of the {listed} on the policy's list"))
        });
    }
    let last = case.key.ledger.deposit;
    let is_another = last != 0 && last != root(case.seen);
    let is_open = is_another && case.window(|window| window.kind == WindowKind::Deposits).is_some();
    word(is_another && !is_open, Level::Refuse, "deposit", || {
        let expected = "one deposit a key, or a deposits window to top up";
        ("a second, different deposit".to_owned(), expected.to_owned())
    })
}

fn expected(case: &Case<'_>, right: &[[u8; 20]]) -> String {
    match right {
        [] => format!("what group {} requires", case.group.name),
        [one] => hex(one),
        several => format!("one of the {} of group {}", several.len(), case.group.name),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    std::iter::once("0x".to_owned()).chain(digits).collect()
}
