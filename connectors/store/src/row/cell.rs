//! What can stand in a column, and its bytes in a key and in a value.

use std::sync::Arc;

use openinfra_schemas::{Quality, SensorId, TenantId};

use super::{
    ColumnType,
    bytes::{
        push_key_bytes, put_sized, put_varint, take_array, take_key_bytes, take_sized, take_varint,
    },
};

/// What can stand in a column.
pub trait Cell: Sized {
    const KIND: ColumnType;
    const OPTIONAL: bool = false;

    fn put_key(&self, out: &mut Vec<u8>);
    fn take_key(bytes: &mut &[u8]) -> Option<Self>;
    fn put(&self, out: &mut Vec<u8>);
    /// None: the bytes end, or hold what the type does not allow.
    fn take(bytes: &mut &[u8]) -> Option<Self>;

    /// What a column that the bytes do not reach is.
    fn missing() -> Option<Self> {
        None
    }
}

impl Cell for i64 {
    const KIND: ColumnType = ColumnType::BigInt;

    fn put_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self ^ i64::MIN).to_be_bytes());
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        take_array(bytes).map(|array| i64::from_be_bytes(array) ^ i64::MIN)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, ((self << 1) ^ (self >> 63)) as u64);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_varint(bytes).map(|raw| (raw >> 1) as i64 ^ -((raw & 1) as i64))
    }
}

impl Cell for i32 {
    const KIND: ColumnType = ColumnType::Int;

    fn put_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self ^ i32::MIN).to_be_bytes());
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        take_array(bytes).map(|array| i32::from_be_bytes(array) ^ i32::MIN)
    }

    fn put(&self, out: &mut Vec<u8>) {
        i64::from(*self).put(out);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        i64::take(bytes).and_then(|value| value.try_into().ok())
    }
}

impl Cell for f64 {
    const KIND: ColumnType = ColumnType::Double;

    /// Doubles in keys are not supported by any table; the order would be that of the bits.
    fn put_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bits().to_be_bytes());
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        take_array(bytes).map(|array| f64::from_bits(u64::from_be_bytes(array)))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_array(bytes).map(f64::from_le_bytes)
    }
}

impl Cell for bool {
    const KIND: ColumnType = ColumnType::Boolean;

    fn put_key(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        Self::take(bytes)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        match take_array(bytes)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Cell for Vec<u8> {
    const KIND: ColumnType = ColumnType::Blob;

    fn put_key(&self, out: &mut Vec<u8>) {
        push_key_bytes(out, self);
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        take_key_bytes(bytes)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_sized(out, self);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_sized(bytes).map(<[u8]>::to_vec)
    }
}

/// Cells that are text in the store and a type of their own in Rust.
macro_rules! text_cell {
    ($type:ty, $as_str:expr, $parse:expr) => {
        impl Cell for $type {
            const KIND: ColumnType = ColumnType::Text;

            fn put_key(&self, out: &mut Vec<u8>) {
                push_key_bytes(out, $as_str(self).as_bytes());
            }

            fn take_key(bytes: &mut &[u8]) -> Option<Self> {
                String::from_utf8(take_key_bytes(bytes)?)
                    .ok()
                    .and_then(|text| $parse(&text))
            }

            fn put(&self, out: &mut Vec<u8>) {
                put_sized(out, $as_str(self).as_bytes());
            }

            fn take(bytes: &mut &[u8]) -> Option<Self> {
                take_sized(bytes)
                    .and_then(|text| std::str::from_utf8(text).ok())
                    .and_then(|text| $parse(text))
            }
        }
    };
}

text_cell!(String, String::as_str, |text: &str| Some(text.to_owned()));
text_cell!(Arc<str>, AsRef::as_ref, |text: &str| Some(Arc::from(text)));
text_cell!(TenantId, TenantId::as_str, |text: &str| Some(
    TenantId::trusted(text)
));
text_cell!(SensorId, SensorId::as_str, |text: &str| Some(
    SensorId::trusted(text)
));
text_cell!(Quality, |q: &Quality| q.as_str(), Quality::parse);

impl<T: Cell> Cell for Option<T> {
    const KIND: ColumnType = T::KIND;
    const OPTIONAL: bool = true;

    /// Key columns are never optional.
    fn put_key(&self, out: &mut Vec<u8>) {
        if let Some(content) = self {
            content.put_key(out);
        }
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        T::take_key(bytes).map(Some)
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(content) => {
                out.push(1);
                content.put(out);
            }
        }
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        if bool::take(bytes)? {
            T::take(bytes).map(Some)
        } else {
            Some(None)
        }
    }

    fn missing() -> Option<Self> {
        Some(None)
    }
}
