//! The metadata log in redb: record number to record, each append one durable transaction.
//!
//!     meta/catalog.redb    table "records":  0 → {"type":"cluster_created",…}   1 → …

use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::{CatalogError, MetadataLog, MetadataRecord};

pub const FILE: &str = "catalog.redb";
const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");

pub struct RedbLog {
    database: Database,
    next: u64,
}

impl RedbLog {
    /// Opens the log in the catalog's directory, or makes it.
    pub fn open(dir: &Path) -> Result<RedbLog, CatalogError> {
        let open = |error: redb::DatabaseError| CatalogError::Open(error.to_string());
        let mut database = Database::create(dir.join(FILE)).map_err(open)?;
        // A catalog is small, and a flipped bit in it could be somebody's data.
        if !database.check_integrity().map_err(open)? {
            return Err(CatalogError::Open("its checksums do not match its contents".to_owned()));
        }
        let next = make_table(&database).map_err(|error| CatalogError::Open(error.to_string()))?;
        // redb syncs its file, not the file's name.
        let synced = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| CatalogError::Open(error.to_string()))?;
        Ok(RedbLog { database, next })
    }
}

/// Makes the table where it is missing; the number the next record gets.
fn make_table(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let last = transaction.open_table(RECORDS)?.last()?.map(|(number, _)| number.value());
    transaction.commit()?;
    Ok(last.map_or(0, |last| last + 1))
}

/// The records in the bytes of a catalog's file, every page of it checked. Works on a copy in memory,
/// because opening the file after a crash would mend it.
pub fn read_copy(bytes: Vec<u8>) -> Result<Vec<MetadataRecord>, CatalogError> {
    let open = || -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
        let copy = InMemoryBackend::new();
        copy.set_len(bytes.len() as u64)?;
        copy.write(0, &bytes)?;
        let mut database = Builder::new().create_with_backend(copy)?;
        database.check_integrity()?;
        read(&database)
    };
    let stored = open().map_err(|error| CatalogError::Open(error.to_string()))?;
    let missing = (0..).zip(&stored).find(|(expected, (number, _))| expected != number);
    if let Some((number, _)) = missing {
        return Err(CatalogError::Record { number, error: "it is missing".to_owned() });
    }
    stored.into_iter().map(parse).collect()
}

fn read(database: &Database) -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    let entries = table.iter()?;
    entries
        .map(|entry| {
            entry.map(|(number, bytes)| (number.value(), bytes.value().to_vec())).map_err(Into::into)
        })
        .collect()
}

fn parse((number, bytes): (u64, Vec<u8>)) -> Result<MetadataRecord, CatalogError> {
    MetadataRecord::from_bytes(&bytes).map_err(|error| CatalogError::Record { number, error })
}

impl MetadataLog for RedbLog {
    fn replay(&self) -> Result<Vec<MetadataRecord>, CatalogError> {
        let stored = read(&self.database).map_err(|error| CatalogError::Open(error.to_string()))?;
        stored.into_iter().map(parse).collect()
    }

    fn append(&mut self, records: &[MetadataRecord]) -> Result<(), CatalogError> {
        let next = self.next;
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            let mut table = transaction.open_table(RECORDS)?;
            for (number, record) in (next..).zip(records) {
                table.insert(number, record.to_bytes().as_slice())?;
            }
            drop(table);
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|error| CatalogError::Write(error.to_string()))?;
        self.next += records.len() as u64;
        Ok(())
    }
}
