//! The TOML file.
