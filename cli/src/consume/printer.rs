//! One record, as the user wants to see it.

use std::io::{self, Write};

use ringlog_client::ConsumedRecord;

use super::format::Format;
use crate::record_json::RecordJson;

pub enum Printer {
    /// The value and a newline.
    Lines,
    Json,
    Format(Format),
}

impl Printer {
    pub fn new(jsonl: bool, format: Option<Format>) -> Printer {
        match format {
            Some(format) => Printer::Format(format),
            None if jsonl => Printer::Json,
            None => Printer::Lines,
        }
    }

    pub fn print(&self, record: &ConsumedRecord, out: &mut impl Write) -> io::Result<()> {
        match self {
            Printer::Lines => {
                out.write_all(record.value.as_deref().unwrap_or_default())?;
                out.write_all(b"\n")
            }
            Printer::Json => {
                let place = Some((&*record.topic, record.partition));
                let (key, value) = (record.key.as_deref(), record.value.as_deref());
                let json =
                    RecordJson::new(place, record.offset, record.timestamp, key, value, &record.headers);
                serde_json::to_writer(&mut *out, &json)?;
                out.write_all(b"\n")
            }
            Printer::Format(format) => format.write(record, out),
        }
    }
}
