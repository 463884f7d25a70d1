//! The `arneb` program: arguments, logs, allocator, and the command that was asked for.

use std::{io::IsTerminal, process::ExitCode};

use arneb::{
    cli::{self, Arguments, ClusterCommand, Command, TpchCommand},
    error::Error,
};
use clap::Parser;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(&arguments);
    let result = match &arguments.command {
        None => cli::serve::run(&arguments.serve).map(|()| true),
        Some(Command::Tpch(TpchCommand::Gen(arguments))) => cli::tpch_gen::run(arguments).map(|()| true),
        Some(Command::Tpch(TpchCommand::Run(arguments))) => cli::tpch_run::run(arguments),
        Some(Command::Cluster(ClusterCommand::Local(arguments))) => cli::cluster_local::run(arguments),
        Some(Command::Cluster(ClusterCommand::Chaos(arguments))) => cli::cluster_chaos::run(arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report(&error);
            ExitCode::from(2)
        }
    }
}

fn start_logging(arguments: &Arguments) {
    let level = match (arguments.quiet, arguments.verbose) {
        (true, _) => "error",
        (false, 0) => "info",
        (false, 1) => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
}

fn report(error: &Error) {
    eprintln!("arneb: {error}");
}
