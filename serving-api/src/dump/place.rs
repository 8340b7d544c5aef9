//! Where a page of a view's rows goes on.

use openinfra_schemas::{SensorId, time::Millis};
use openinfra_store::{Edge, Range, Row};
use serde::{Deserialize, Serialize};

use crate::history::Span;

/// The place of a row in its view's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Its key, encoded.
    Key {
        partition: Vec<u8>,
        clustering: Vec<u8>,
    },
    /// Its sensor and time, where partitions are spans of time.
    Time(SensorId, Millis),
}

impl Place {
    pub fn of<R: Row>(row: &R) -> Self {
        let key = row.key();
        Self::Key {
            partition: key.partition().to_vec(),
            clustering: key.clustering().to_vec(),
        }
    }

    /// What of a range that is merged with others by clustering key lies behind it.
    pub fn rest_of_merged(&self, range: Range) -> Range {
        match self {
            Self::Key { clustering, .. } => Range {
                from: Edge::After(clustering.clone()),
                ..range
            },
            Self::Time(..) => range,
        }
    }

    /// Whether it lies in another partition.
    pub fn is_outside(&self, range: &Range) -> bool {
        matches!(self, Self::Key { partition, .. } if *partition != range.partition)
    }

    /// What of a sensor's time lies behind it.
    pub fn rest_of_time(&self, sensor: &SensorId, all: Span) -> Span {
        match self {
            Self::Time(of, ts) if of == sensor => Span {
                from: ts.saturating_add(1),
                ..all
            },
            _ => all,
        }
    }
}
