//! One node as a process: started, signalled, restarted under the same name, killed when it is dropped.
//!
//! Position: part of `local_cluster`. Signals go through the program `kill`, and only to a child that has not been waited for, so
//! that its number cannot be another process's by then.

use std::{
    fs::{File, OpenOptions},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use super::GLANCE;
use crate::{
    config::Role,
    error::{Error, ErrorKind, Result},
};

/// What process to start.
#[derive(Debug, Clone)]
pub struct LocalNodeOptions {
    /// The program.
    pub program: PathBuf,
    /// Where its configuration and its log are put.
    pub directory: PathBuf,
    /// Below it the program keeps what it has to remember, such as the secret of the cluster: `XDG_STATE_HOME`.
    pub state_directory: PathBuf,
    /// Names its files.
    pub name: String,
    /// `--role`.
    pub role: Role,
    /// The text of its configuration file.
    pub config: String,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Where it takes part in the cluster, for who wants to know.
    pub rpc_port: u16,
}

/// The process, or the memory of one.
pub struct LocalNode {
    options: LocalNodeOptions,
    child: Option<Child>,
    is_stopped: bool,
}

impl LocalNode {
    /// Writes the configuration and starts the process.
    ///
    /// # Errors
    /// A file that cannot be written, a program that does not start.
    pub fn start(options: LocalNodeOptions) -> Result<LocalNode> {
        let mut node = LocalNode { options, child: None, is_stopped: false };
        let config = node.config_path();
        std::fs::write(&config, &node.options.config)
            .map_err(|error| node.failure(&format!("cannot write {}: {error}", config.display())))?;
        node.spawn()?;
        Ok(node)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Its Flight port.
    pub fn rpc_port(&self) -> u16 {
        self.options.rpc_port
    }

    /// The number of the process while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGKILL: it ends at once and says nothing to anybody.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, and then there is nothing left to do.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.is_stopped = false;
    }

    /// SIGSTOP: it stands still, its connections stay open.
    ///
    /// # Errors
    /// There is no process.
    pub fn stop(&mut self) -> Result<()> {
        self.signal("STOP")?;
        self.is_stopped = true;
        Ok(())
    }

    /// SIGCONT: it goes on.
    ///
    /// # Errors
    /// There is no process.
    pub fn cont(&mut self) -> Result<()> {
        self.signal("CONT")?;
        self.is_stopped = false;
        Ok(())
    }

    /// SIGTERM: it is asked to end.
    ///
    /// # Errors
    /// There is no process.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal("TERM")
    }

    /// Starts it again under its name, with its configuration; kills it first if it still runs.
    ///
    /// # Errors
    /// The program does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.spawn()
    }

    /// Whether it stands still.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end in time, or there is no process.
    pub async fn wait_exit(&mut self, bound: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        if self.child.is_none() {
            return Err(self.failure("it does not run"));
        }
        loop {
            if let Some(status) = self.exit_status() {
                self.child = None;
                return Ok(status);
            }
            if start.elapsed() > bound {
                return Err(self.failure("it does not end").with_detail(self.log_end(60)));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Everything it has logged since it was first started.
    pub fn log(&self) -> String {
        std::fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of its log.
    pub fn log_end(&self, lines: usize) -> String {
        let log = self.log();
        let skipped = log.lines().count().saturating_sub(lines);
        log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }

    /// How the process is, for messages.
    pub fn condition(&self) -> &'static str {
        let Some(process) = self.process_id() else { return "killed or waited for" };
        let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The state is the letter after the program's name, which may hold any character but stands in parentheses.
        match status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
            Some('Z') => "has ended by itself or by a signal",
            Some('T') => "stopped",
            Some(_) => "running",
            None => "unknown",
        }
    }

    /// How many file descriptors it has open; `None` if it does not run, or the system does not say.
    pub fn open_files(&self) -> Option<usize> {
        Some(std::fs::read_dir(format!("/proc/{}/fd", self.process_id()?)).ok()?.count())
    }

    fn spawn(&mut self) -> Result<()> {
        let options = &self.options;
        let role = match options.role {
            Role::Standalone => "standalone",
            Role::Coordinator => "coordinator",
            Role::Worker => "worker",
        };
        let log = self.open_log()?;
        let errors = log.try_clone().map_err(|error| self.failure(&format!("cannot open its log twice: {error}")))?;
        let mut command = Command::new(&options.program);
        command.arg("--config").arg(self.config_path()).args(["--role", role]).args(&options.arguments);
        // What the surroundings say of ports and threads is not meant for every node.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ARNEB_")) {
            command.env_remove(name);
        }
        command.env("XDG_STATE_HOME", &options.state_directory).stdin(Stdio::null()).stdout(log).stderr(errors);
        self.child = Some(command.spawn().map_err(|error| self.failure(&format!("cannot start {}: {error}", options.program.display())))?);
        Ok(())
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let process = self.process_id().ok_or_else(|| self.failure("it does not run"))?;
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.failure(&format!("kill -{signal} {process}: {status}"))),
            Err(error) => Err(self.failure(&format!("cannot run kill: {error}"))),
        }
    }

    fn config_path(&self) -> PathBuf {
        self.options.directory.join(format!("{}.toml", self.options.name))
    }

    fn log_path(&self) -> PathBuf {
        self.options.directory.join(format!("{}.log", self.options.name))
    }

    fn open_log(&self) -> Result<File> {
        let path = self.log_path();
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.map_err(|error| self.failure(&format!("cannot write {}: {error}", path.display())))
    }

    fn failure(&self, message: &str) -> Error {
        Error::new(ErrorKind::Cluster, "58000", format!("{}: {message}", self.options.name))
    }
}

impl Drop for LocalNode {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that ignores its arguments and sleeps stands for a node.
    fn sleeper(directory: &std::path::Path) -> LocalNode {
        use std::os::unix::fs::PermissionsExt;
        let program = directory.join("sleeper");
        std::fs::write(&program, "#!/bin/sh\necho started\nexec sleep 1000\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let options = LocalNodeOptions {
            program,
            directory: directory.to_owned(),
            state_directory: directory.join("state"),
            name: "worker-1".into(),
            role: Role::Worker,
            config: String::new(),
            arguments: vec![],
            rpc_port: 1,
        };
        LocalNode::start(options).unwrap()
    }

    #[tokio::test]
    async fn a_node_is_signalled_and_comes_back_under_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut node = sleeper(directory.path());
        let first = node.process_id().unwrap();
        node.stop().unwrap();
        assert!(node.is_stopped() && node.exit_status().is_none());
        node.cont().unwrap();
        if cfg!(target_os = "linux") {
            // The kernel takes its time to wake it.
            let start = std::time::Instant::now();
            while node.condition() != "running" {
                assert!(start.elapsed() < Duration::from_secs(30), "{}", node.condition());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        node.terminate().unwrap();
        assert!(!node.wait_exit(Duration::from_secs(30)).await.unwrap().success());
        assert!(node.stop().is_err(), "a signal to nobody");
        node.restart().unwrap();
        assert_ne!(node.process_id().unwrap(), first);
    }

    #[test]
    fn a_dropped_node_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let node = sleeper(directory.path());
        let process = node.process_id().unwrap();
        drop(node);
        let alive = Command::new("kill").arg("-0").arg(process.to_string()).stderr(Stdio::null()).status().unwrap();
        assert!(!alive.success());
    }
}
