//! Ringlog's client.
