//! Tables in CQL's words, from their declarations.

use openinfra_store::{Column, Table};

use crate::statement::{list, place, quoted, type_name};

/// Makes a table if there is none; `options` stand behind `WITH`.
pub(crate) fn create_table(keyspace: &str, table: &Table, options: Option<&str>) -> String {
    let typed = |column: &Column| format!("{} {}", quoted(column), type_name(column.kind));
    let columns = table.partition.iter().chain(table.clustering);
    let columns = list(columns.chain(table.values), ", ", typed);
    let partition = list(table.partition.iter(), ", ", quoted);
    let clustering: String = table
        .clustering
        .iter()
        .map(|column| format!(", {}", quoted(column)))
        .collect();
    let options = options.map_or(String::new(), |options| format!(" WITH {options}"));
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({columns}, PRIMARY KEY (({partition}){clustering})){options}",
        place(keyspace, table)
    )
}
