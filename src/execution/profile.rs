//! The profile of a query, `profile/v1`.
