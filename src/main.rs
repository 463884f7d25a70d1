//! The `arneb` program: arguments, configuration, role.

fn main() {}
