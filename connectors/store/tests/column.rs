//! One column is found in an encoded row whatever stands before it.

use openinfra_store::{Row, RowError, row::column_i64, table};

table! {
    /// A column of every kind, with and without an option, before the ones that are looked for.
    struct WideRow in "test_wide" {
        partition { name: String }
        clustering {}
        values {
            text: String,
            bytes: Vec<u8>,
            real: f64,
            flag: bool,
            int: i32,
            big: i64,
            no_text: Option<String>,
            a_text: Option<String>,
            no_real: Option<f64>,
            maybe: Option<i64>,
            later: Option<i64>,
        }
    }
}

fn wide(big: i64, maybe: Option<i64>) -> Vec<u8> {
    let row = WideRow {
        name: "n".into(),
        text: "text".into(),
        bytes: vec![0, 255, 1],
        real: -0.0,
        flag: true,
        int: -7,
        big,
        no_text: None,
        a_text: Some(String::new()),
        no_real: None,
        maybe,
        later: Some(9),
    };
    let mut value = Vec::new();
    row.encode_value(&mut value);
    value
}

#[test]
fn columns_are_found_by_name() {
    for number in [0, 1, -1, i64::MAX, i64::MIN] {
        let value = wide(number, Some(number));
        assert_eq!(column_i64(WideRow::TABLE, "big", &value), Ok(Some(number)));
        assert_eq!(
            column_i64(WideRow::TABLE, "maybe", &value),
            Ok(Some(number))
        );
    }
    let value = wide(1, None);
    assert_eq!(column_i64(WideRow::TABLE, "maybe", &value), Ok(None));
    assert_eq!(column_i64(WideRow::TABLE, "later", &value), Ok(Some(9)));
}

#[test]
fn a_row_of_before_the_column_has_none() {
    let mut value = wide(1, Some(5));
    value.truncate(value.len() - 2);
    assert_eq!(column_i64(WideRow::TABLE, "maybe", &value), Ok(Some(5)));
    assert_eq!(column_i64(WideRow::TABLE, "later", &value), Ok(None));
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let value = wide(1, None);
    let wrong_type = column_i64(WideRow::TABLE, "int", &value);
    assert_eq!(wrong_type, Err(RowError::Content("int")));
    let unknown = column_i64(WideRow::TABLE, "nowhere", &value);
    assert_eq!(unknown, Err(RowError::NoColumn("nowhere")));
    let cut = column_i64(WideRow::TABLE, "big", &value[..6]);
    assert!(cut.is_err());
    assert_eq!(
        column_i64(WideRow::TABLE, "big", &[9]),
        Err(RowError::Form(9))
    );
}
