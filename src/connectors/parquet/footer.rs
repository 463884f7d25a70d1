//! Footers, parsed once per file and process.
//!
//! Position: [`super::ParquetTable`] loads one per file when it is opened; scans check that the file is still the one whose footer
//! they plan with. The cache is keyed by path, size and time of modification; a file that is replaced gets a new entry.

use std::{
    collections::HashMap,
    fs::{File, Metadata},
    io,
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use parking_lot::Mutex;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::fault::{Fault, Place};
use crate::error::{Error, ErrorKind, Result};

/// A file and its footer.
#[derive(Debug)]
pub struct Footer {
    /// The file's path.
    pub path: String,
    /// The file's size.
    pub file_bytes: u64,
    modified: Option<SystemTime>,
    /// What the footer says.
    pub metadata: ParquetMetaData,
}

type Key = (String, u64, Option<SystemTime>);

/// The most footers that are kept; a footer of a large file takes a few megabytes.
const CACHED_FOOTERS_MAX: usize = 1024;

static CACHE: LazyLock<Mutex<HashMap<Key, Arc<Footer>>>> = LazyLock::new(Mutex::default);

/// The footer of the file at `path`.
///
/// # Errors
/// 58P01 when there is no such file, XX001 when it is no Parquet file.
pub fn load(path: &str) -> Result<Arc<Footer>> {
    let place = Place { path, chunk: None };
    let file = File::open(path).map_err(|error| place.error(error.into()))?;
    let (file_bytes, modified) = identity(&file.metadata().map_err(|error| place.error(error.into()))?);
    let key = (path.to_owned(), file_bytes, modified);
    if let Some(footer) = CACHE.lock().get(&key) {
        return Ok(Arc::clone(footer));
    }
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).map_err(|error| place.error(error.into()))?;
    check(&metadata).map_err(|fault| place.error(fault))?;
    let footer = Arc::new(Footer { path: path.to_owned(), file_bytes, modified, metadata });
    let mut cache = CACHE.lock();
    if cache.len() >= CACHED_FOOTERS_MAX {
        cache.clear();
    }
    cache.insert(key, Arc::clone(&footer));
    Ok(footer)
}

fn identity(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

// Counts are signed in the format; everything after this trusts them to be sensible.
fn check(metadata: &ParquetMetaData) -> Result<(), Fault> {
    let mut total = 0i64;
    for row_group in metadata.row_groups() {
        let rows = row_group.num_rows();
        total =
            total.checked_add(rows).filter(|_| rows >= 0).ok_or(Fault::Corrupt("a row group has an impossible number of rows".into()))?;
    }
    Ok(())
}

impl Footer {
    /// Opens the file, if it still is the one whose footer this is.
    ///
    /// # Errors
    /// 58P01 when the file is gone, 55000 when it has changed.
    pub fn open(&self) -> Result<Arc<File>> {
        let place = Place { path: &self.path, chunk: None };
        let file = File::open(&self.path).map_err(|error| place.error(error.into()))?;
        let now = identity(&file.metadata().map_err(|error: io::Error| place.error(error.into()))?);
        if now != (self.file_bytes, self.modified) {
            let message = format!("file \"{}\" has changed since its table was opened", self.path);
            return Err(Error::new(ErrorKind::Connector, "55000", message).with_hint("open the table again to read the new file"));
        }
        Ok(Arc::new(file))
    }

    /// Rows of a row group.
    pub fn num_rows(&self, row_group: usize) -> usize {
        usize::try_from(self.metadata.row_group(row_group).num_rows()).unwrap_or(0)
    }
}
