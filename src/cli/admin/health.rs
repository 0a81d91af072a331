//! `portcullis admin health`.

use anyhow::Context;
use serde_json::Value;

use super::client::{Client, Reply};
use super::table::{Table, cell};
use crate::cli::Exit;

pub(super) fn show(client: &Client) -> anyhow::Result<Exit> {
    let reply = client.get("/v1/health")?;
    let health: Value = reply.read()?;
    fields(client, &reply, &health)?;
    Ok(Exit::done_if(health["signs"] == true))
}

/// Shows an object, a line each field.
pub(super) fn fields(client: &Client, reply: &Reply, object: &Value) -> anyhow::Result<()> {
    if client.json {
        println!("{}", String::from_utf8_lossy(&reply.body));
        return Ok(());
    }
    let mut table = Table::new(&["what", "value"]);
    for (name, value) in object.as_object().context("not an object")? {
        match value {
            Value::Object(inner) => {
                for (inner, value) in inner {
                    table.row([format!("{name}.{inner}"), cell(value)]);
                }
            }
            other => table.row([name.clone(), cell(other)]),
        }
    }
    Ok(table.print()?)
}
