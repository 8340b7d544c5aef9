//! `admin`: what whoever runs the servers does with what they keep.
//!
//! What a newcomer would get wrong: keys want the store alone, so that one is revoked whatever else is away. Where the
//! store is embedded they are made and revoked in the folder, and the server that uses them must not run meanwhile.

use openinfra_api::PERMISSIONS;
use openinfra_intake::{
    INGEST_READINGS, PrincipalKind, TRUST_RECEIVE_TIME,
    keys::{ListedKey, NewKey},
};
use openinfra_schemas::{TenantId, time};
use openinfra_scylla::{Cluster, migrate::migrate};

use crate::{
    cli::{AdminCommand, CreateKeyArgs, KeyKind, ListKeysArgs, MigrateArgs, RevokeKeyArgs},
    config::Config,
    deployment::StoreAlone,
    exit::{self, Failure, Outcome},
};

/// Runs the whole command.
pub async fn run(command: AdminCommand) -> Outcome {
    match command {
        AdminCommand::Migrate(args) => migrate_store(args).await,
        AdminCommand::CreateKey(args) => create_key(args).await,
        AdminCommand::ListKeys(args) => list_keys(args).await,
        AdminCommand::RevokeKey(args) => revoke_key(args).await,
    }
}

async fn migrate_store(args: MigrateArgs) -> Outcome {
    let config = Config::load_deployment(&args.deployment)?;
    let Some(cql) = &config.cql else {
        return Err(Failure::usage(
            "an embedded store needs no migration; name another with --store cql://HOST:PORT/KEYSPACE",
        ));
    };
    let options = args.options().map_err(Failure::usage)?;
    let failed = |error: anyhow::Error| Failure::new(exit::FAILED, error);
    let cluster = Cluster::connect(cql)
        .await
        .map_err(|error| failed(error.into()))?;
    let migrated = migrate(&cluster, &options)
        .await
        .map_err(|error| failed(error.into()))?;
    match migrated.applied.len() {
        0 => eprintln!("The tables are of version {} already.", migrated.have),
        _ => eprintln!("The tables are of version {} now.", migrated.have),
    }
    Ok(exit::DONE)
}

async fn create_key(args: CreateKeyArgs) -> Outcome {
    let new = new_key(&args)?;
    let config = Config::load_deployment(&args.deployment)?;
    let store = StoreAlone::open(&config).await.map_err(Failure::failed)?;
    let made = store.keys().create(new).await;
    let closed = store.close().await;
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

async fn list_keys(args: ListKeysArgs) -> Outcome {
    let tenant = TenantId::parse(&args.tenant).map_err(Failure::usage)?;
    let config = Config::load_deployment(&args.deployment)?;
    let store = StoreAlone::open_existing(&config).await?;
    let listed = store.keys().list(&tenant).await;
    let closed = store.close().await;
    let listed = listed.map_err(|error| Failure::new(exit::FAILED, error))?;
    closed?;
    for key in &listed {
        if args.json {
            println!("{}", as_json(key));
        } else {
            println!("{}", as_line(key));
        }
    }
    Ok(exit::DONE)
}

async fn revoke_key(args: RevokeKeyArgs) -> Outcome {
    // Who pastes the whole key means the same, and the secret is not needed.
    let prefix = args.prefix.split('.').next().unwrap_or_default();
    let config = Config::load_deployment(&args.deployment)?;
    let store = StoreAlone::open_existing(&config).await;
    let store = store.map_err(Failure::failed)?;
    let revoked = store.keys().revoke(prefix).await;
    let closed = store.close().await;
    let revoked = revoked.map_err(|error| Failure::new(exit::FAILED, error))?;
    closed?;
    if revoked {
        eprintln!("Key {prefix} is revoked.");
        return Ok(exit::DONE);
    }
    let error = anyhow::anyhow!("there is no key with the prefix {prefix:?}");
    Err(Failure::new(exit::FAILED, error))
}

fn as_json(key: &ListedKey) -> serde_json::Value {
    let sensors = key.sensor_ids.as_deref();
    let sensors = sensors.and_then(|ids| serde_json::from_str::<serde_json::Value>(ids).ok());
    serde_json::json!({
        "prefix": key.prefix,
        "name": key.name,
        "kind": key.kind,
        "permissions": key.permissions,
        "sensor_ids": sensors,
        "readings_per_s": key.readings_per_s,
        "revoked": key.revoked,
        "created_at": time::format_ts(key.created_at),
    })
}

fn as_line(key: &ListedKey) -> String {
    let state = if key.revoked { "revoked" } else { "good" };
    let created = time::format_ts(key.created_at);
    let permissions = key.permissions.join(",");
    let (prefix, kind, name) = (&key.prefix, &key.kind, &key.name);
    format!("{prefix}  {state:<7}  {created}  {kind:<7}  {permissions}  {name}")
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
        named => {
            let names = || {
                PERMISSIONS
                    .iter()
                    .chain(&[INGEST_READINGS, TRUST_RECEIVE_TIME])
            };
            if let Some(wrong) = named
                .iter()
                .find(|named| !names().any(|name| name == named))
            {
                let names: Vec<_> = names().copied().collect();
                return Err(Failure::usage(format!(
                    "--permissions: {wrong:?} is none; expected some of {}",
                    names.join(", ")
                )));
            }
            named.iter().cloned().collect()
        }
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
