//! Sources and sinks of plain vectors and a one-call runner, for the tests of operators.
