//! The functions SQL can call: names, overloads, result types.
