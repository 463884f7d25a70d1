//! What `$1`, `$2`, … stand for, and the types their surroundings give them.

use arrow::datatypes::DataType;
use operators::Scalar;

use super::{Parameters, conversion::Typed};
use crate::{
    error::{Error, Result},
    plan::logical::Expr,
};

/// Most parameters a message of the protocol can carry.
const PARAMETERS_MAX: usize = 65_535;

/// The parameters of a statement, as far as they are known.
pub struct ParameterTypes<'a> {
    types: Vec<Option<DataType>>,
    values: Option<&'a [Scalar]>,
}

impl<'a> ParameterTypes<'a> {
    /// As given by the client.
    pub fn new(parameters: &Parameters<'a>) -> Self {
        match *parameters {
            Parameters::Types(types) => ParameterTypes { types: types.to_vec(), values: None },
            Parameters::Values(values) => {
                let known = |value: &Scalar| Some(value.data_type()).filter(|t| *t != DataType::Null);
                ParameterTypes { types: values.iter().map(known).collect(), values: Some(values) }
            }
        }
    }

    /// The parameter written as `$n`.
    ///
    /// # Errors
    /// 42P02 for a number that cannot be, or has no value.
    pub fn get(&mut self, written: &str) -> Result<Typed> {
        let missing = || Error::binding("42P02", format!("there is no parameter {written}"));
        let number: usize = written.strip_prefix('$').and_then(|n| n.parse().ok()).ok_or_else(missing)?;
        if number == 0 || number > PARAMETERS_MAX {
            return Err(missing());
        }
        let index = number - 1;
        if self.types.len() <= index {
            if self.values.is_some() {
                return Err(missing());
            }
            self.types.resize(number, None);
        }
        let data_type = self.types[index].clone().unwrap_or(DataType::Null);
        let scalar = match self.values {
            Some(values) => values[index].clone(),
            None => Scalar::Null(data_type.clone()),
        };
        Ok(Typed { parameter: Some(index), ..Typed::new(Expr::Literal(scalar), data_type) })
    }

    /// Gives a parameter its type, if it has none yet. The first use decides, as in PostgreSQL.
    pub fn settle(&mut self, index: usize, data_type: &DataType) {
        let known = &mut self.types[index];
        if known.is_none() {
            *known = Some(data_type.clone());
        }
    }

    /// The types; text for those that no use has given one.
    pub fn into_types(self) -> Vec<DataType> {
        self.types.into_iter().map(|known| known.unwrap_or(DataType::Utf8View)).collect()
    }
}
