//! `admin`: what whoever runs the server does with its data folder.
//!
//! What a newcomer would get wrong: a key is made in the folder, so the server that uses it must not run
//! meanwhile.

use openinfra_intake::{INGEST_READINGS, PrincipalKind, keys::NewKey};
use openinfra_schemas::TenantId;

use crate::{
    cli::{AdminCommand, CreateKeyArgs, KeyKind},
    exit::{self, Failure, Outcome},
    folder::OpenFolder,
};

/// Runs the whole command.
pub async fn run(command: AdminCommand) -> Outcome {
    match command {
        AdminCommand::CreateKey(args) => create_key(args).await,
    }
}

async fn create_key(args: CreateKeyArgs) -> Outcome {
    let new = new_key(&args)?;
    let folder = OpenFolder::open(&args.data)
        .await
        .map_err(Failure::failed)?;
    let made = folder.keys().create(new).await;
    let closed = folder.close().await;
    let made = made.map_err(|error| Failure::new(exit::FAILED, error))?;
    closed?;
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "prefix": made.prefix, "key": made.key })
        );
    } else {
        println!("{}", made.key);
        eprintln!("Keep it: it cannot be shown again.");
    }
    Ok(exit::DONE)
}

fn new_key(args: &CreateKeyArgs) -> Result<NewKey, Failure> {
    let tenant = TenantId::parse(&args.tenant).map_err(Failure::usage)?;
    let kind = match args.kind {
        KeyKind::Device => PrincipalKind::Device,
        KeyKind::Gateway => PrincipalKind::Gateway,
        KeyKind::Service => PrincipalKind::Service,
    };
    let permissions = match args.permissions.as_slice() {
        [] => [INGEST_READINGS.to_owned()].into(),
        named => named.iter().cloned().collect(),
    };
    Ok(NewKey {
        tenant,
        name: args.name.clone(),
        kind,
        permissions,
        sensor_ids: (!args.sensors.is_empty()).then(|| args.sensors.clone()),
        readings_per_s: args.readings_per_s,
    })
}
