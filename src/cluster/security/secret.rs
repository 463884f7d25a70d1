//! The cluster's secret: whoever knows it is a node of the cluster.
//!
//! Position: read once when a node starts. In order: the environment variable `ARNEB_CLUSTER_SECRET`, the file named by `[cluster]
//! secret_file`, and else a file in the user's state directory which the first node that starts makes, so that several nodes
//! of one user on one machine need no configuration.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind as Io, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use ring::rand::SystemRandom;

use super::{random_bytes, to_hex};
use crate::error::{Error, ErrorKind, Result};

/// The environment variable that holds the secret itself.
pub const VARIABLE: &str = "ARNEB_CLUSTER_SECRET";

/// Shorter secrets can be guessed, and are mistakes anyway.
const BYTES_MIN: usize = 8;

/// A file this large is no secret but a mistake.
const BYTES_MAX: u64 = 64 << 10;

/// The secret.
pub struct Secret(Vec<u8>);

impl Secret {
    /// From the environment, the configured file, or the default file, which is made if it is not there.
    ///
    /// # Errors
    /// None of them can be used; the message says why and what to do.
    pub fn load(configured: Option<&Path>) -> Result<Secret> {
        if let Some(text) = std::env::var_os(VARIABLE) {
            let text = text.into_string().map_err(|_| unusable(VARIABLE, "it is not text"))?;
            return Secret::from_text(&text).map_err(|error| unusable(VARIABLE, &error.message));
        }
        match configured {
            Some(path) => read(path),
            None => read_or_create(&default_path()?),
        }
    }

    /// A text as it stands, without the space around it.
    ///
    /// # Errors
    /// It is too short.
    pub fn from_text(text: &str) -> Result<Secret> {
        let text = text.trim();
        if text.len() < BYTES_MIN {
            return Err(configuration(format!("it has {} characters, and {BYTES_MIN} are the least", text.len())));
        }
        Ok(Secret(text.as_bytes().to_vec()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `$XDG_STATE_HOME/arneb/cluster.secret`, or the same in `~/.local/state`.
fn default_path() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let state = state.ok_or_else(|| {
        configuration("there is no place for the cluster's secret: neither HOME nor XDG_STATE_HOME is set".to_owned())
            .with_hint(format!("set {VARIABLE}, or [cluster] secret_file in the configuration"))
    })?;
    Ok(state.join("arneb/cluster.secret"))
}

fn read_or_create(path: &Path) -> Result<Secret> {
    if !path.exists() {
        create(path).map_err(|error| unusable(&quoted(path), &format!("it cannot be made: {error}")))?;
        tracing::debug!(path = %path.display(), "cluster secret made");
    }
    read(path)
}

/// Whoever links first has made the file, with everything in it; for all others it is there.
fn create(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let bytes: [u8; 32] = random_bytes(&SystemRandom::new()).map_err(std::io::Error::other)?;
    let name: [u8; 8] = random_bytes(&SystemRandom::new()).map_err(std::io::Error::other)?;
    let draft = directory.join(format!(".cluster.secret.{}", to_hex(&name)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = writeln!(file, "{}", to_hex(&bytes)).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match written {
        Err(error) if error.kind() == Io::AlreadyExists => Ok(()),
        written => written,
    }
}

fn read(path: &Path) -> Result<Secret> {
    let wrong = |why: &str| unusable(&quoted(path), why);
    // Asked of the open file: what is at the path may have changed in between.
    let file = File::open(path).map_err(|error| wrong(&error.to_string()))?;
    let metadata = file.metadata().map_err(|error| wrong(&error.to_string()))?;
    if !metadata.is_file() {
        return Err(wrong("it is not a file"));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(wrong(&format!("others can read or write it (mode {mode:03o})"))
            .with_hint(format!("chmod 600 {}; if others may have read it, make a new secret", path.display())));
    }
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(|error| wrong(&error.to_string()))?;
    Secret::from_text(&text).map_err(|error| wrong(&error.message))
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

fn unusable(source: &str, why: &str) -> Error {
    configuration(format!("cannot take the cluster's secret from {source}: {why}"))
        .with_hint("a secret is a line of random characters, the same on all nodes; openssl rand -hex 32 makes one")
}

fn configuration(message: String) -> Error {
    Error::new(ErrorKind::Configuration, "F0000", message)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn nodes_that_start_at_once_have_the_same_secret() {
        for _ in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("state/arneb/cluster.secret");
            let barrier = Barrier::new(8);
            let start = || {
                barrier.wait();
                read_or_create(&path).unwrap().0
            };
            let secrets: Vec<Vec<u8>> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(secrets[0].len(), 64);
            assert!(secrets.iter().all(|secret| *secret == secrets[0]));
            let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, ["cluster.secret"]);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "0123456789abcdef").unwrap();
        for mode in [0o644, 0o640, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).err().unwrap();
            assert!(error.message.contains(&format!("(mode {mode:03o})")), "{error}");
            assert!(error.hint.unwrap().starts_with("chmod 600 "));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path).unwrap().0, b"0123456789abcdef");
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read(&directory.path().join("missing")).is_err());
        assert!(read(directory.path()).is_err());
        assert!(Secret::from_text("").is_err());
        assert!(Secret::from_text("  short \n").is_err());
        assert_eq!(Secret::from_text(" long enough\n").unwrap().0, b"long enough");
    }
}
