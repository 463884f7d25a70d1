//! The TOML file of a node: one struct per section, units in every name, validated once.
//!
//! Position: read by `main` before anything else; defaults < file < environment < flags, the last two by
//! `main`. Unknown keys, wrong types and bad values are errors that name file, line, key and the nearest valid key.
//! Deliberately elsewhere: opening the tables (`connectors`), which happens when the node starts.

mod cluster;

use std::{fmt, ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub use self::cluster::{ClusterConfig, TlsConfig, node_address};

/// Everything a file can say; absent keys have their defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Address of all doors.
    pub bind_address: String,
    /// Port of the PostgreSQL protocol.
    pub port: u16,
    /// Port of the web UI; `None`: `port` + 1000.
    pub web_port: Option<u16>,
    /// Threads of the pool; `None`: one per core.
    pub max_worker_threads: Option<usize>,
    /// Memory budget of the node in MiB; `None`: four fifths of the machine's.
    pub max_memory_mb: Option<usize>,
    /// Memory that one query may use on each node, in MiB; `None`: all of the node's.
    pub query_memory_mb: Option<usize>,
    /// Who may connect; `None`: processes of this machine.
    pub auth: Option<Auth>,
    /// The name browsers know this machine by, besides its addresses.
    pub host_name: Option<String>,
    /// Queries that may run at the same time; `None`: the engine's default.
    pub max_running: Option<usize>,
    /// Queries that may wait for their turn; `None`: the engine's default.
    pub max_queued: Option<usize>,
    /// Seconds a query may wait; `None`: the engine's default.
    pub queue_timeout_s: Option<u64>,
    /// Files to be tables.
    pub tables: Vec<TableConfig>,
    /// The cluster, as far as this node is concerned.
    pub cluster: ClusterConfig,
}

/// `[[tables]]`
#[derive(Debug, Clone, PartialEq)]
pub struct TableConfig {
    /// Name in SQL, in schema `file.default`.
    pub name: String,
    /// A file, a directory or a glob.
    pub path: String,
    /// What the files are.
    pub format: Format,
    /// Columns of a CSV file: name and type; `None`: inferred.
    pub schema: Option<Vec<(String, String)>>,
    /// Where the section begins, for errors when the table is opened: `arneb.toml:7`.
    pub place: String,
}

/// What the files of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Parquet.
    Parquet,
    /// CSV with a header line.
    Csv,
}

/// Who may connect from other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Everybody.
    Trust,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// All in one process.
    Standalone,
    /// Takes SQL, has workers run it (SQL, web, Flight).
    Coordinator,
    /// Runs pieces of queries for a coordinator (Flight only).
    Worker,
}

impl Role {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Role::Standalone => "standalone",
            Role::Coordinator => "coordinator",
            Role::Worker => "worker",
        }
    }
}

/// A mistake in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// `file:line`, or the file alone.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Default for Config {
    fn default() -> Self {
        Config {
            bind_address: "127.0.0.1".to_owned(),
            port: 5432,
            web_port: None,
            max_worker_threads: None,
            max_memory_mb: None,
            query_memory_mb: None,
            auth: None,
            host_name: None,
            max_running: None,
            max_queued: None,
            queue_timeout_s: None,
            tables: vec![],
            cluster: ClusterConfig::default(),
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or its first mistake.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            place: path.display().to_string(),
            message: format!("cannot read the configuration: {error}"),
            hint: None,
        })?;
        Config::parse(&path.display().to_string(), &text)
    }

    /// Reads a text; `file` is its name in errors.
    ///
    /// # Errors
    /// Its first mistake.
    pub fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
        let document = Document { file, text };
        let root = DeTable::parse(text).map_err(|error| document.error(error.span().unwrap_or(0..0), error.message().to_owned(), None))?;
        let keys = [
            "bind_address",
            "port",
            "web_port",
            "max_worker_threads",
            "max_memory_mb",
            "query_memory_mb",
            "auth",
            "host_name",
            "max_running",
            "max_queued",
            "queue_timeout_s",
            "tables",
            "cluster",
        ];
        let section = Section::new(document, "", root.get_ref(), root.span(), &keys)?;
        let defaults = Config::default();
        Ok(Config {
            bind_address: section.text("bind_address")?.unwrap_or(defaults.bind_address),
            port: section.number("port", 1..=65_535)?.map_or(defaults.port, |n| n as u16),
            web_port: section.number("web_port", 1..=65_535)?.map(|n| n as u16),
            max_worker_threads: section.number("max_worker_threads", 1..=4096)?.map(|n| n as usize),
            max_memory_mb: section.number("max_memory_mb", 1..=i64::from(u32::MAX))?.map(|n| n as usize),
            query_memory_mb: section.number("query_memory_mb", 1..=i64::from(u32::MAX))?.map(|n| n as usize),
            auth: section.choice("auth", &[("trust", Auth::Trust)])?,
            host_name: section.text("host_name")?,
            max_running: section.number("max_running", 1..=10_000)?.map(|n| n as usize),
            max_queued: section.number("max_queued", 0..=10_000)?.map(|n| n as usize),
            queue_timeout_s: section.number("queue_timeout_s", 0..=86_400)?.map(|n| n as u64),
            tables: tables(&section)?,
            cluster: cluster::read(&section)?,
        })
    }
}

fn tables(root: &Section<'_>) -> Result<Vec<TableConfig>, ConfigError> {
    let mut tables: Vec<TableConfig> = vec![];
    for (table, span) in root.tables("tables")? {
        let section = Section::new(root.document, "tables", table, span.clone(), &["name", "path", "format", "schema"])?;
        let table = table_config(&section, root.document.place(&span))?;
        if tables.iter().any(|t| t.name == table.name) {
            return Err(root.document.error(span, format!("table \"{}\" is defined twice", table.name), None));
        }
        tables.push(table);
    }
    Ok(tables)
}

fn table_config(section: &Section<'_>, place: String) -> Result<TableConfig, ConfigError> {
    let name = section.required_text("name")?;
    let path = section.required_text("path")?;
    let format = section.choice("format", &[("parquet", Format::Parquet), ("csv", Format::Csv)])?;
    let format = format.ok_or_else(|| section.missing("format", "\"parquet\" or \"csv\""))?;
    let columns = section.tables("schema")?;
    let schema = columns
        .into_iter()
        .map(|(column, span)| {
            let column = Section::new(section.document, "tables.schema", column, span, &["name", "type"])?;
            Ok((column.required_text("name")?, column.required_text("type")?))
        })
        .collect::<Result<Vec<_>, ConfigError>>()?;
    Ok(TableConfig { name, path, format, schema: (!schema.is_empty()).then_some(schema), place })
}

/// The text, for places in errors.
#[derive(Clone, Copy)]
struct Document<'a> {
    file: &'a str,
    text: &'a str,
}

impl Document<'_> {
    fn place(&self, span: &Range<usize>) -> String {
        let end = span.start.min(self.text.len());
        let line = 1 + self.text.as_bytes()[..end].iter().filter(|b| **b == b'\n').count();
        format!("{}:{line}", self.file)
    }

    fn error(&self, span: Range<usize>, message: String, hint: Option<String>) -> ConfigError {
        ConfigError { place: self.place(&span), message, hint }
    }
}

/// A table of the file with the keys it may have.
struct Section<'a> {
    document: Document<'a>,
    name: &'static str,
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

impl<'a> Section<'a> {
    fn new(
        document: Document<'a>,
        name: &'static str,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        keys: &[&str],
    ) -> Result<Self, ConfigError> {
        for (key, _) in table.iter() {
            let text: &str = key.get_ref();
            if !keys.contains(&text) {
                let nearest = keys.iter().min_by_key(|k| edit_distance(text, k)).expect("a section has keys");
                let within = if name.is_empty() { String::new() } else { format!(" in [{name}]") };
                let hint = format!("did you mean \"{nearest}\"? the keys{within} are {}", keys.join(", "));
                return Err(document.error(key.span(), format!("unknown key \"{text}\"{within}"), Some(hint)));
            }
        }
        Ok(Section { document, name, table, span })
    }

    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.iter().find(|(k, _)| k.get_ref() == key).map(|(_, value)| value)
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) -> ConfigError {
        let found = value.get_ref().type_str();
        self.document.error(value.span(), format!("\"{}\" must be {expected}, not a value of type {found}", self.path(key)), None)
    }

    fn missing(&self, key: &str, what: &str) -> ConfigError {
        let hint = format!("add a line: {key} = {what}");
        self.document.error(self.span.clone(), format!("\"{}\" is missing", self.path(key)), Some(hint))
    }

    fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.get_ref().as_str() {
                Some("") => Err(self.document.error(value.span(), format!("\"{}\" must not be empty", self.path(key)), None)),
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(self.wrong_type(key, value, "a string")),
            },
        }
    }

    fn required_text(&self, key: &str) -> Result<String, ConfigError> {
        self.text(key)?.ok_or_else(|| self.missing(key, "\"…\""))
    }

    fn number(&self, key: &str, range: std::ops::RangeInclusive<i64>) -> Result<Option<i64>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let Some(integer) = value.get_ref().as_integer() else { return Err(self.wrong_type(key, value, "a whole number")) };
        match i64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|n| range.contains(n)) {
            Some(number) => Ok(Some(number)),
            None => {
                let message = format!("\"{}\" must be between {} and {}", self.path(key), range.start(), range.end());
                Err(self.document.error(value.span(), message, None))
            }
        }
    }

    fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                let nearest = names.iter().min_by_key(|name| edit_distance(&text, name)).expect("there is a choice");
                let span = self.get(key).expect("it was just read").span();
                let hint = format!("did you mean \"{nearest}\"? the choices are {}", names.join(", "));
                Err(self.document.error(span, format!("\"{}\" cannot be \"{text}\"", self.path(key)), Some(hint)))
            }
        }
    }

    /// The tables of an array of tables.
    fn tables(&self, key: &str) -> Result<Vec<(&'a DeTable<'a>, Range<usize>)>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(vec![]) };
        let expected = format!("sections [[{}]]", self.path(key));
        let Some(array) = value.get_ref().as_array() else { return Err(self.wrong_type(key, value, &expected)) };
        array
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::Table(table) => Ok((table, item.span())),
                _ => Err(self.wrong_type(key, item, &expected)),
            })
            .collect()
    }
}

/// Levenshtein's distance, for the nearest key.
pub fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> ConfigError {
        Config::parse("arneb.toml", text).unwrap_err()
    }

    #[test]
    fn the_documented_coordinator_file_is_read() {
        let text = "bind_address = \"0.0.0.0\"\nport = 5432\n\n[[tables]]\nname = \"lineitem\"\npath = \"/data/lineitem.parquet\"\nformat = \"parquet\"\n";
        let config = Config::parse("coordinator.toml", text).unwrap();
        assert_eq!((config.bind_address.as_str(), config.port), ("0.0.0.0", 5432));
        assert_eq!(config.tables.len(), 1);
        assert_eq!((config.tables[0].name.as_str(), config.tables[0].format), ("lineitem", Format::Parquet));
        assert_eq!(config.tables[0].place, "coordinator.toml:4");
    }

    #[test]
    fn limits_and_access_are_read() {
        let text = "auth = \"trust\"\nhost_name = \"db.example\"\nmax_running = 3\nmax_queued = 0\nqueue_timeout_s = 5\n";
        let config = Config::parse("arneb.toml", text).unwrap();
        assert_eq!((config.auth, config.host_name.as_deref()), (Some(Auth::Trust), Some("db.example")));
        assert_eq!((config.max_running, config.max_queued, config.queue_timeout_s), (Some(3), Some(0), Some(5)));
        assert_eq!(error("auth = \"password\"\n").message, "\"auth\" cannot be \"password\"");
    }

    #[test]
    fn the_documented_worker_file_is_read() {
        let text =
            "bind_address = \"0.0.0.0\"\n[cluster]\nrpc_port = 9091\ncoordinator_address = \"127.0.0.1:9090\"\nworker_id = \"worker-1\"\n";
        let cluster = Config::parse("worker.toml", text).unwrap().cluster;
        assert_eq!(cluster.rpc_port, Some(9091));
        assert_eq!(cluster.coordinator_address.as_deref(), Some("127.0.0.1:9090"));
        assert_eq!(cluster.worker_id.as_deref(), Some("worker-1"));
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_key() {
        let error = error("bind_address = \"::1\"\nprot = 5432\n");
        assert_eq!(error.place, "arneb.toml:2");
        assert_eq!(error.message, "unknown key \"prot\"");
        assert!(error.hint.unwrap().starts_with("did you mean \"port\"?"));
    }

    #[test]
    fn an_unknown_key_of_a_table_names_its_section() {
        let error = error("[[tables]]\nname = \"t\"\npath = \"t.csv\"\nfromat = \"csv\"\n");
        assert_eq!(error.place, "arneb.toml:4");
        assert_eq!(error.message, "unknown key \"fromat\" in [tables]");
        assert!(error.hint.unwrap().starts_with("did you mean \"format\"?"));
    }

    #[test]
    fn values_are_checked() {
        for (text, place, message) in [
            ("port = 0", "arneb.toml:1", "\"port\" must be between 1 and 65535"),
            ("\nport = \"x\"", "arneb.toml:2", "\"port\" must be a whole number, not a value of type string"),
            ("max_memory_mb = 0", "arneb.toml:1", "\"max_memory_mb\" must be between 1 and 4294967295"),
            ("[cluster]\nrole = \"worke\"", "arneb.toml:2", "\"cluster.role\" cannot be \"worke\""),
            ("[[tables]]\nname = \"t\"\nformat = \"csv\"", "arneb.toml:1", "\"tables.path\" is missing"),
            ("[tables]\nname = \"t\"", "arneb.toml:1", "\"tables\" must be sections [[tables]], not a value of type table"),
        ] {
            let error = error(text);
            assert_eq!((error.place.as_str(), error.message.as_str()), (place, message), "{text}");
        }
    }

    #[test]
    fn two_tables_of_one_name_are_refused() {
        let table = "[[tables]]\nname = \"t\"\npath = \"t.csv\"\nformat = \"csv\"\n";
        assert_eq!(error(&format!("{table}{table}")).message, "table \"t\" is defined twice");
    }

    #[test]
    fn broken_toml_names_its_line() {
        assert_eq!(error("port = 1\nbind_address = = \"x\"\n").place, "arneb.toml:2");
    }

    #[test]
    fn a_csv_schema_can_be_given() {
        let text = "[[tables]]\nname = \"t\"\npath = \"t.csv\"\nformat = \"csv\"\nschema = [{name = \"a\", type = \"int32\"}]\n";
        let tables = Config::parse("arneb.toml", text).unwrap().tables;
        assert_eq!(tables[0].schema, Some(vec![("a".to_owned(), "int32".to_owned())]));
    }
}
