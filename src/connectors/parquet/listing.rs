//! Which files a path names: itself, the files of a directory, or those that match a glob; sorted, without hidden ones.

use std::{fs, io, path::Path};

use super::fault::Place;
use crate::error::{Error, ErrorKind, Result};

/// Directories below each other that `**` walks; a limit against links that lead in circles.
const DEPTH_MAX: usize = 32;

/// The files that `path` names, in the order of their paths.
///
/// # Errors
/// 58P01 when there are none.
pub fn files(path: &str) -> Result<Vec<String>> {
    let failed = |at: &str, error: io::Error| Place { path: at, chunk: None }.error(error.into());
    let mut found = Vec::new();
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            collect(Path::new(path), &["**", "*"], 0, &mut found).map_err(|error| failed(path, error))?;
            found.retain(|file| is_data_file(file));
        }
        Ok(_) => return Ok(vec![path.to_owned()]),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.contains(['*', '?', '[']) => {
            let (root, pattern) = match path.strip_prefix('/') {
                Some(rest) => ("/", rest),
                None => (".", path),
            };
            let segments: Vec<&str> = pattern.split('/').filter(|segment| !segment.is_empty() && *segment != ".").collect();
            collect(Path::new(root), &segments, 0, &mut found).map_err(|error| failed(path, error))?;
        }
        Err(error) => return Err(failed(path, error)),
    }
    if found.is_empty() {
        return Err(Error::new(ErrorKind::Connector, "58P01", format!("no file matches \"{path}\"")));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

// In a directory that a writer has filled lie markers, checksums and logs beside the data.
fn is_data_file(path: &str) -> bool {
    path.ends_with(".parquet") || path.ends_with(".parq") || path.ends_with(".pq")
}

fn collect(directory: &Path, segments: &[&str], depth: usize, found: &mut Vec<String>) -> io::Result<()> {
    let Some((segment, rest)) = segments.split_first() else { return Ok(()) };
    if depth > DEPTH_MAX {
        return Ok(());
    }
    if *segment == "**" {
        collect(directory, rest, depth, found)?;
    } else if !segment.contains(['*', '?', '[']) {
        let path = directory.join(segment);
        return match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => collect(&path, rest, depth + 1, found),
            Ok(_) if rest.is_empty() => {
                found.push(path.to_string_lossy().into_owned());
                Ok(())
            }
            _ => Ok(()),
        };
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(['.', '_']) {
            continue;
        }
        let path = entry.path();
        let is_directory = path.is_dir();
        if *segment == "**" {
            if is_directory {
                collect(&path, segments, depth + 1, found)?;
            }
        } else if matches(segment.as_bytes(), name.as_bytes()) {
            if is_directory {
                collect(&path, rest, depth + 1, found)?;
            } else if rest.is_empty() {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    Ok(())
}

/// Whether `name` matches a pattern of `*`, `?`, `[a-z]`, `[!a-z]` and plain bytes.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // After a mismatch, the last star takes one byte more; earlier stars need never be tried again.
    let (mut p, mut n, mut retry) = (0, 0, None);
    loop {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            None if n == name.len() => return true,
            None => None,
            Some(_) if n == name.len() => return pattern[p..].iter().all(|byte| *byte == b'*'),
            Some(b'?') => Some(p + 1),
            Some(b'[') => class(&pattern[p..], name[n]).map(|length| p + length),
            Some(byte) => (*byte == name[n]).then_some(p + 1),
        };
        match (step, retry) {
            (Some(next), _) => (p, n) = (next, n + 1),
            (None, Some((after_star, from))) if from < name.len() => {
                (p, n) = (after_star, from + 1);
                retry = Some((after_star, from + 1));
            }
            _ => return false,
        }
    }
}

/// The length of the class at the start of `pattern` if `byte` is in it. A bracket that never closes is a plain byte.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let is_negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if is_negated { 2 } else { 1 };
    let close = pattern.iter().skip(first + 1).position(|b| *b == b']').map(|at| at + first + 1);
    let Some(close) = close else { return (byte == b'[').then_some(1) };
    let members = &pattern[first..close];
    let mut is_member = false;
    let mut at = 0;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == b'-' {
            is_member |= (members[at]..=members[at + 2]).contains(&byte);
            at += 3;
        } else {
            is_member |= members[at] == byte;
            at += 1;
        }
    }
    (is_member != is_negated).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_like_a_shell() {
        for (pattern, name, expected) in [
            ("*.parquet", "a.parquet", true),
            ("*.parquet", "a.parquet.crc", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?", "", false),
            ("??", "ab", true),
            ("part-[0-9].pq", "part-7.pq", true),
            ("part-[!0-9].pq", "part-7.pq", false),
            ("[ab]x", "bx", true),
            ("[x", "[x", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn directories_and_globs_are_walked_in_order_without_hidden_files() {
        let directory = tempfile::tempdir().unwrap();
        for file in ["b.parquet", "a.parquet", ".hidden.parquet", "_SUCCESS", "notes.txt", "year=1/c.parquet", "_tmp/d.parquet"] {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let root = directory.path().to_str().unwrap();
        let names = |pattern: &str| -> Vec<String> {
            files(&format!("{root}{pattern}")).unwrap().iter().map(|f| f[root.len() + 1..].to_owned()).collect()
        };
        assert_eq!(names(""), ["a.parquet", "b.parquet", "year=1/c.parquet"]);
        assert_eq!(names("/*.parquet"), ["a.parquet", "b.parquet"]);
        assert_eq!(names("/**/*.parquet"), ["a.parquet", "b.parquet", "year=1/c.parquet"]);
        assert_eq!(names("/year=*/?.parquet"), ["year=1/c.parquet"]);
        assert_eq!(names("/a.parquet"), ["a.parquet"]);
        assert!(files(&format!("{root}/*.csv")).is_err());
        assert_eq!(files(&format!("{root}/z.parquet")).unwrap_err().sqlstate.0, "58P01");
    }
}
