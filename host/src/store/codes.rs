//! How words of the model stand in columns: enumerations as small numbers, messages as MessagePack.
//!
//! A number, once given, is never given to another word: it stands in databases.

use pairwise_plugin_api::{Reason, codec};
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{AsideKind, HoldKind, LinkState, Side, Winner};

macro_rules! coded {
    ($type:ty: $($word:ident = $code:literal),+) => {
        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(match self { $(<$type>::$word => $code),+ }))
            }
        }

        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                match value.as_i64()? {
                    $($code => Ok(<$type>::$word),)+
                    other => Err(FromSqlError::OutOfRange(other)),
                }
            }
        }
    };
}

coded!(Side: Left = 0_i64, Right = 1);
coded!(LinkState: Live = 0_i64, Dormant = 1);
coded!(AsideKind: Quarantined = 0_i64, Refused = 1);
coded!(HoldKind: Removals = 0_i64, Emptied = 1, Match = 2, Identity = 3);
coded!(Winner: Latest = 0_i64, Left = 1, Right = 2, Hold = 3);

/// Why a record is gone, as a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone(pub(super) Reason);

impl ToSql for Gone {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(match self.0 {
            Reason::Deleted => 0_i64,
            Reason::LeftScope => 1,
            Reason::Unknown => 2,
        }))
    }
}

impl FromSql for Gone {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Gone(match value.as_i64()? {
            0 => Reason::Deleted,
            1 => Reason::LeftScope,
            _ => Reason::Unknown,
        }))
    }
}

/// A message as a column.
#[derive(Debug)]
pub(super) struct Packed<T>(pub(super) T);

impl<T: Serialize> ToSql for Packed<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let bytes = codec::encode(&self.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(ToSqlOutput::from(bytes))
    }
}

impl<T: DeserializeOwned> FromSql for Packed<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        codec::decode(value.as_blob()?).map(Packed).map_err(FromSqlError::other)
    }
}

/// Match keys as a column: nine bytes each.
#[derive(Debug)]
pub(super) struct Keys(pub(super) Vec<(u8, u64)>);

impl ToSql for Keys {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let mut bytes = Vec::with_capacity(self.0.len() * 9);
        for (rank, digest) in &self.0 {
            bytes.push(*rank);
            bytes.extend(digest.to_le_bytes());
        }
        Ok(ToSqlOutput::from(bytes))
    }
}

impl FromSql for Keys {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        let (keys, rest) = bytes.as_chunks::<9>();
        if !rest.is_empty() {
            return Err(FromSqlError::InvalidBlobSize { expected_size: keys.len() * 9, blob_size: bytes.len() });
        }
        Ok(Keys(
            keys.iter()
                .map(|&[rank, a, b, c, d, e, f, g, h]| (rank, u64::from_le_bytes([a, b, c, d, e, f, g, h])))
                .collect(),
        ))
    }
}
