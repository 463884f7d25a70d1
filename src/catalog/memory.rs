//! A catalog of tables that are handed to it: configured files, tables of tests.
