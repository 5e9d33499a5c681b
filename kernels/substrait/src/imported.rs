//! What a message is read as.

use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef};
use substrait::proto::ExtendedExpression;
use substrait::proto::expression_reference::ExprType;
use unlade_expr::limits::MAX_OUTPUTS;
use unlade_expr::{Expr, Query, Semantics, Signatures, check_staged, type_name};
use unlade_wire::KernelRequest;

use crate::demands::Demands;
use crate::error::{SubstraitError, unsupported};
use crate::expr::{Reader, declared};
use crate::extensions::Extensions;
use crate::types::schema;
use crate::upgrade::{decode, upgrade};

/// The expressions of a message, the schema that they are over, and what they ask of the rules.
#[derive(Clone, Debug)]
pub struct Imported {
    /// In the order of the message.
    pub expressions: Vec<Named>,
    /// What they are over. Timestamps with a zone are in UTC: Substrait carries no other.
    pub input: SchemaRef,
    demands: Demands,
}

/// An expression with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The name of the output.
    pub name: String,
    /// What it is. Columns are by their exact names.
    pub expr: Expr,
    /// The type that the message says it has, where it says that.
    pub declared: Option<DataType>,
}

pub(crate) fn import(bytes: &[u8], functions: &Signatures) -> Result<Imported, SubstraitError> {
    let message: ExtendedExpression = decode(&upgrade(bytes)?)?;
    let version = message.version.as_ref();
    let major = version.map(|version| version.major_number);
    match major {
        Some(0) => {}
        Some(major) => return unsupported(format!("Substrait {major}.x is not known")),
        None => return Err(SubstraitError::Unset("the version of Substrait")),
    }
    let enhancement = message.advanced_extensions.as_ref();
    if enhancement.is_some_and(|extensions| extensions.enhancement.is_some()) {
        return unsupported("an enhancement, which changes what the message means, is not known");
    }
    let extensions = Extensions::new(&message, bytes)?;
    let base = message.base_schema.as_ref();
    let base = base.ok_or(SubstraitError::Unset("the schema"))?;
    let input = Arc::new(schema(base, &extensions)?);
    let mut reader = Reader {
        extensions: &extensions,
        functions,
        input: &input,
        demands: Demands::default(),
    };
    if message.referred_expr.len() > MAX_OUTPUTS {
        return Err(SubstraitError::Limit {
            what: "expressions",
            most: MAX_OUTPUTS,
        });
    }
    let mut expressions = Vec::new();
    for each in &message.referred_expr {
        let expression = match each.expr_type.as_ref() {
            Some(ExprType::Expression(expression)) => expression,
            Some(ExprType::Measure(_)) => {
                return unsupported("measures, which aggregate, are not computed");
            }
            None => return Err(SubstraitError::Unset("an expression")),
        };
        let [name] = each.output_names.as_slice() else {
            return unsupported(format!(
                "an expression has {} names; one is read, of a column that is not nested",
                each.output_names.len()
            ));
        };
        expressions.push(Named {
            name: name.clone(),
            expr: reader.expression(expression)?,
            declared: declared(expression, &extensions)?,
        });
    }
    let demands = reader.demands;
    Ok(Imported {
        expressions,
        input,
        demands,
    })
}

impl Imported {
    /// The rows on which the one expression is true.
    ///
    /// # Errors
    /// A message of none or several.
    pub fn filter(&self) -> Result<Query, SubstraitError> {
        match self.expressions.as_slice() {
            [predicate] => Ok(Query::filter(predicate.expr.clone())),
            several => unsupported(format!(
                "a filter is one expression, and the message has {}",
                several.len()
            )),
        }
    }

    /// Every row, with the expressions as its columns.
    pub fn projection(&self) -> Query {
        let columns = self.expressions.iter();
        Query::all().select(columns.map(|each| each.expr.clone().alias(each.name.as_str())))
    }

    /// The rules by which the expressions mean what the message says: `base`, with what options of
    /// functions and failure behaviours of casts ask for in its place.
    ///
    /// # Errors
    /// Demands that these rules cannot meet, an expression that does not pass their check, and one
    /// whose type by them is not the one that the message declares.
    pub fn rules(&self, base: &Semantics) -> Result<Semantics, SubstraitError> {
        let rules = self.demands.over(base)?;
        for named in &self.expressions {
            let output = || named.name.clone();
            let query = Query::all().select([named.expr.clone().alias(output())]);
            let staged = check_staged(&query, &self.input, &rules);
            let staged = staged.map_err(|error| SubstraitError::Check {
                output: output(),
                error,
            })?;
            let found = staged.checked.output.field(0).data_type();
            match &named.declared {
                Some(declared) if declared != found => {
                    return Err(SubstraitError::OutputType {
                        output: output(),
                        declared: type_name(declared),
                        found: type_name(found),
                    });
                }
                _ => {}
            }
        }
        Ok(rules)
    }

    /// A request for the kernel of a query made of these expressions, over their schema, by
    /// [`rules`](Self::rules).
    ///
    /// # Errors
    /// As of [`rules`](Self::rules).
    pub fn request(&self, query: Query, base: &Semantics) -> Result<KernelRequest, SubstraitError> {
        Ok(KernelRequest {
            query,
            input: Arc::clone(&self.input),
            semantics: self.rules(base)?,
        })
    }
}
