//! The macro that declares a table and the type of its rows.

/// Declares a table and the type of its rows.
///
/// ```
/// openinfra_store::table! {
///     /// How many cups each machine made, by day.
///     pub struct CupsRow in "cups" {
///         partition { machine: String }
///         clustering { day: i64 }
///         values { cups: i64, note: Option<String> }
///     }
/// }
/// ```
#[macro_export]
macro_rules! table {
    (
        $(#[$doc:meta])*
        $vis:vis struct $row:ident in $name:literal {
            partition { $($(#[$pdoc:meta])* $p:ident: $pt:ty),* $(,)? }
            clustering { $($(#[$cdoc:meta])* $c:ident: $ct:ty),* $(,)? }
            values { $($(#[$vdoc:meta])* $v:ident: $vt:ty),* $(,)? }
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $row {
            $($(#[$pdoc])* pub $p: $pt,)*
            $($(#[$cdoc])* pub $c: $ct,)*
            $($(#[$vdoc])* pub $v: $vt,)*
        }

        impl $crate::row::Row for $row {
            const TABLE: &'static $crate::row::Table = &$crate::row::Table {
                name: $name,
                partition: &[$($crate::table!(@column $p, $pt)),*],
                clustering: &[$($crate::table!(@column $c, $ct)),*],
                values: &[$($crate::table!(@column $v, $vt)),*],
            };

            fn encode_key(&self, out: &mut Vec<u8>) -> usize {
                $($crate::row::Cell::put_key(&self.$p, out);)*
                let partition_end = out.len();
                $($crate::row::Cell::put_key(&self.$c, out);)*
                partition_end
            }

            fn encode_value(&self, out: &mut Vec<u8>) {
                out.push($crate::row::FORM);
                $($crate::row::Cell::put(&self.$v, out);)*
            }

            fn decode(
                mut partition: &[u8],
                mut clustering: &[u8],
                value: &[u8],
            ) -> Result<Self, $crate::row::RowError> {
                let mut value = match value {
                    [$crate::row::FORM, rest @ ..] => rest,
                    [form, ..] => return Err($crate::row::RowError::Form(*form)),
                    [] => return Err($crate::row::RowError::Short("form")),
                };
                // A table may have no clustering key, or no values: each is borrowed all the same.
                let (partition, clustering, value) = (&mut partition, &mut clustering, &mut value);
                let row = Self {
                    $($p: $crate::row::take_key(partition, stringify!($p))?,)*
                    $($c: $crate::row::take_key(clustering, stringify!($c))?,)*
                    $($v: $crate::row::take_value(value, stringify!($v))?,)*
                };
                $crate::row::done(partition)?;
                $crate::row::done(clustering)?;
                $crate::row::done(value)?;
                Ok(row)
            }
        }
    };
    (@column $name:ident, $type:ty) => {
        $crate::row::Column {
            name: stringify!($name),
            kind: <$type as $crate::row::Cell>::KIND,
            optional: <$type as $crate::row::Cell>::OPTIONAL,
        }
    };
}
