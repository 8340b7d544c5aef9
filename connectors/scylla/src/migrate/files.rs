//! The numbered files, as they are in the repository.

use sha2::{Digest, Sha256};

pub(super) struct Migration {
    pub(super) version: i32,
    pub(super) name: &'static str,
    text: &'static str,
}

/// In their order. One that was released is never edited: what it forgot is a new one.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "tables",
        text: include_str!("../../../../schemas/cql/0001_tables.cql"),
    },
    Migration {
        version: 2,
        name: "marks",
        text: include_str!("../../../../schemas/cql/0002_marks.cql"),
    },
    Migration {
        version: 3,
        name: "hours",
        text: include_str!("../../../../schemas/cql/0003_hours.cql"),
    },
    Migration {
        version: 4,
        name: "broker_sessions",
        text: include_str!("../../../../schemas/cql/0004_broker_sessions.cql"),
    },
];

impl Migration {
    /// SHA-256 of the file, in hexadecimal.
    pub(super) fn checksum(&self) -> String {
        let digest = Sha256::digest(self.text);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Its statements; no semicolon stands in a text of theirs, and comments have lines of their own.
    pub(super) fn statements(&self) -> Vec<String> {
        let lines = self.text.lines();
        let lines = lines.filter(|line| !line.trim_start().starts_with("--"));
        let text = lines.collect::<Vec<_>>().join("\n");
        let statements = text.split(';').map(str::trim);
        let statements = statements.filter(|statement| !statement.is_empty());
        statements.map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openinfra_store::{Column, Table, tables};

    use super::*;
    use crate::statement::type_name;

    /// A table as the files make it: columns in their order, and the primary key.
    #[derive(Debug, Default, PartialEq)]
    struct Made {
        columns: Vec<(String, String)>,
        key: String,
        order: String,
    }

    fn made() -> BTreeMap<String, Made> {
        let mut tables = BTreeMap::new();
        for statement in MIGRATIONS.iter().flat_map(Migration::statements) {
            let words: Vec<_> = statement.split_whitespace().collect();
            match words[..] {
                ["CREATE", "TABLE", "IF", "NOT", "EXISTS", name, "(", ..] => {
                    let (_, body) = statement.split_once("(\n").unwrap();
                    let (body, options) = body.split_once("\n)").unwrap();
                    let mut table = Made::default();
                    for line in body.lines().map(str::trim) {
                        if let Some(key) = line.strip_prefix("PRIMARY KEY ") {
                            table.key = key.to_owned();
                        } else {
                            table.columns.push(column(line));
                        }
                    }
                    if let Some((_, order)) = options.split_once("CLUSTERING ORDER BY (") {
                        table.order = order.split(')').next().unwrap().to_owned();
                    }
                    tables.insert(name.replace('"', ""), table);
                }
                ["ALTER", "TABLE", name, "ADD", ..] => {
                    let (_, added) = statement.split_once(" ADD ").unwrap();
                    let table: &mut Made = tables.get_mut(name).unwrap();
                    table.columns.push(column(added));
                }
                _ => panic!("not read here: {statement}"),
            }
        }
        tables
    }

    fn column(line: &str) -> (String, String) {
        let (name, kind) = line.trim_end_matches(',').split_once(' ').unwrap();
        (name.replace('"', ""), kind.to_owned())
    }

    fn declared(table: &Table) -> Made {
        let names = |columns: &[Column]| -> Vec<String> {
            columns
                .iter()
                .map(|column| column.name.to_owned())
                .collect()
        };
        let partition = format!("({})", names(table.partition).join(", "));
        let keys: Vec<_> = [partition]
            .into_iter()
            .chain(names(table.clustering))
            .collect();
        let order: Vec<_> = names(table.clustering)
            .iter()
            .map(|name| format!("{name} ASC"))
            .collect();
        let columns = crate::statement::all(table).into_iter();
        Made {
            columns: columns
                .map(|column| (column.name.to_owned(), type_name(column.kind).to_owned()))
                .collect(),
            key: format!("({})", keys.join(", ")),
            order: order.join(", "),
        }
    }

    #[test]
    fn the_files_make_what_the_tables_declare() {
        let mut made = made();
        for table in tables::ALL {
            assert_eq!(
                made.remove(table.name),
                Some(declared(table)),
                "{}",
                table.name
            );
        }
        assert!(made.is_empty(), "not declared: {:?}", made.keys());
    }

    #[test]
    fn versions_follow_each_other() {
        let versions: Vec<_> = MIGRATIONS
            .iter()
            .map(|migration| migration.version)
            .collect();
        assert_eq!(versions, (1..=MIGRATIONS.len() as i32).collect::<Vec<_>>());
    }
}
