//! A session's settings: what SET, SHOW and RESET work on.
//!
//! Position: part of a session. Most settings are only remembered, because clients set and read them; those
//! with a meaning here are checked: `search_path`, `client_encoding`, `statement_timeout`, and those of a cluster,
//! `distribution` (auto, always, never) and `recovery` (auto, restart, off).

use std::collections::BTreeMap;

use crate::{
    engine::EngineOptions,
    error::{Error, Result},
    execution::distributed::{DistributionMode, DistributionOptions, RecoveryMode},
};

/// The version of PostgreSQL whose behaviour clients may expect.
pub const SERVER_VERSION: &str = concat!("16.4 (arneb ", env!("CARGO_PKG_VERSION"), ")");

/// Settings by lower-case name.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<String, String>,
    defaults: BTreeMap<String, String>,
}

/// Names and defaults, as PostgreSQL 16 has them.
const DEFAULTS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("distribution", ""),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "on"),
    ("lock_timeout", "0"),
    ("max_identifier_length", "63"),
    ("recovery", ""),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160004"),
    ("session_authorization", "arneb"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
];

/// Settings that SET refuses to change.
const READ_ONLY: &[&str] = &[
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "max_identifier_length",
    "server_encoding",
    "server_version",
    "server_version_num",
];

impl Settings {
    /// The settings of a new session.
    pub fn new(options: &EngineOptions) -> Self {
        let mut defaults: BTreeMap<String, String> = DEFAULTS.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        defaults.insert("search_path".to_owned(), options.default_schema.clone());
        Settings { values: defaults.clone(), defaults }
    }

    /// The value of a setting.
    ///
    /// # Errors
    /// 42704 if there is none of that name.
    pub fn get(&self, name: &str) -> Result<&str> {
        self.values.get(canonical(name).as_str()).map(String::as_str).ok_or_else(|| unrecognized(name))
    }

    /// Sets a setting, or with `None` sets it back. Names with a dot are free for applications.
    ///
    /// # Errors
    /// 42704 if there is none of that name, 55P02 if it is read-only, 22023 if the value does not fit.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let name = canonical(name);
        if !self.values.contains_key(&name) && !name.contains('.') {
            return Err(unrecognized(&name));
        }
        if READ_ONLY.contains(&name.as_str()) {
            return Err(Error::binding("55P02", format!("parameter \"{name}\" cannot be changed")));
        }
        let Some(value) = value else {
            match self.defaults.get(&name) {
                Some(default) => self.values.insert(name, default.clone()),
                None => self.values.remove(&name),
            };
            return Ok(());
        };
        match name.as_str() {
            "client_encoding" if !matches!(value.to_ascii_uppercase().as_str(), "UTF8" | "UTF-8" | "UNICODE") => {
                return Err(Error::binding("22023", format!("invalid value for parameter \"client_encoding\": \"{value}\""))
                    .with_hint("only UTF8 is supported"));
            }
            "statement_timeout" => {
                milliseconds(value)?;
            }
            "distribution" => drop(DistributionMode::parse(value)?),
            "recovery" => drop(RecoveryMode::parse(value)?),
            "timezone" if !matches!(value.to_ascii_uppercase().as_str(), "UTC" | "GMT" | "ETC/UTC" | "Z" | "0" | "LOCAL") => {
                return Err(Error::unsupported(format!("time zone \"{value}\"")).with_hint("timestamps are shown in UTC"));
            }
            _ => {}
        }
        self.values.insert(name, value.to_owned());
        Ok(())
    }

    /// The schemas in which names without one are looked up.
    pub fn search_path(&self) -> Vec<String> {
        let path = &self.values["search_path"];
        path.split(',').map(|part| part.trim().trim_matches('"').trim_matches('\'').to_owned()).filter(|p| !p.is_empty()).collect()
    }

    /// After how many milliseconds a statement is cancelled; `None`: never.
    pub fn statement_timeout_ms(&self) -> Option<u64> {
        milliseconds(&self.values["statement_timeout"]).ok().filter(|ms| *ms > 0)
    }

    /// How queries are distributed; what is not set is as the node is configured.
    pub fn distribution(&self) -> DistributionOptions {
        DistributionOptions {
            distribution: DistributionMode::parse(&self.values["distribution"]).ok(),
            recovery: RecoveryMode::parse(&self.values["recovery"]).ok(),
        }
    }

    /// All settings by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn canonical(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "time zone" | "time_zone" => "timezone".to_owned(),
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "names" => "client_encoding".to_owned(),
        name => name.to_owned(),
    }
}

fn unrecognized(name: &str) -> Error {
    Error::binding("42704", format!("unrecognized configuration parameter \"{name}\""))
}

/// A duration as PostgreSQL writes it: a number of milliseconds, or with a unit.
fn milliseconds(value: &str) -> Result<u64> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let factor = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    match number.parse::<u64>() {
        Ok(number) if factor > 0 => Ok(number.saturating_mul(factor)),
        _ => Err(Error::binding("22023", format!("invalid value for parameter \"statement_timeout\": \"{value}\""))
            .with_hint("a number of milliseconds, or a number with one of the units ms, s, min, h, d")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new(&EngineOptions::default())
    }

    #[test]
    fn a_setting_goes_back_to_its_default() {
        let mut settings = settings();
        settings.set("application_name", Some("psql")).unwrap();
        assert_eq!(settings.get("application_name").unwrap(), "psql");
        settings.set("application_name", None).unwrap();
        assert_eq!(settings.get("application_name").unwrap(), "");
    }

    #[test]
    fn unknown_names_are_refused_unless_they_have_a_dot() {
        let mut settings = settings();
        assert_eq!(settings.set("no_such_setting", Some("1")).unwrap_err().sqlstate.0, "42704");
        settings.set("my.setting", Some("1")).unwrap();
        assert_eq!(settings.get("my.setting").unwrap(), "1");
    }

    #[test]
    fn a_timeout_has_a_unit_or_is_in_milliseconds() {
        let mut settings = settings();
        for (text, expected) in [("250", Some(250)), ("2s", Some(2000)), ("1 min", Some(60_000)), ("0", None)] {
            settings.set("statement_timeout", Some(text)).unwrap();
            assert_eq!(settings.statement_timeout_ms(), expected, "{text}");
        }
        assert_eq!(settings.set("statement_timeout", Some("soon")).unwrap_err().sqlstate.0, "22023");
    }

    #[test]
    fn the_search_path_is_a_list_of_names() {
        let mut settings = settings();
        settings.set("search_path", Some("\"$user\", sf1 ,default")).unwrap();
        assert_eq!(settings.search_path(), ["$user", "sf1", "default"]);
    }
}
