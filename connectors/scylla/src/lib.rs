//! The store on ScyllaDB or Cassandra.
