//! Kleene's AND, OR and NOT: false AND NULL is false, true OR NULL is true, everything else with NULL is NULL.

use arrow::{
    array::{Array, BooleanArray},
    compute,
};

use crate::Result;

pub(crate) fn and(left: &BooleanArray, right: &BooleanArray) -> Result<BooleanArray> {
    if left.nulls().is_none() && right.nulls().is_none() {
        return Ok(BooleanArray::new(left.values() & right.values(), None));
    }
    Ok(compute::and_kleene(left, right)?)
}

pub(crate) fn or(left: &BooleanArray, right: &BooleanArray) -> Result<BooleanArray> {
    if left.nulls().is_none() && right.nulls().is_none() {
        return Ok(BooleanArray::new(left.values() | right.values(), None));
    }
    Ok(compute::or_kleene(left, right)?)
}

pub(crate) fn not(operand: &BooleanArray) -> BooleanArray {
    BooleanArray::new(!operand.values(), operand.nulls().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kleene_tables() {
        let (t, f, n) = (Some(true), Some(false), None);
        let left = BooleanArray::from(vec![t, t, t, f, f, f, n, n, n]);
        let right = BooleanArray::from(vec![t, f, n, t, f, n, t, f, n]);
        assert_eq!(and(&left, &right).unwrap(), BooleanArray::from(vec![t, f, n, f, f, f, n, f, n]));
        assert_eq!(or(&left, &right).unwrap(), BooleanArray::from(vec![t, t, t, t, f, n, t, n, n]));
        assert_eq!(not(&BooleanArray::from(vec![t, f, n])), BooleanArray::from(vec![f, t, n]));
    }
}
