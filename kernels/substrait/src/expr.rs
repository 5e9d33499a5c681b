//! Substrait's expressions as expressions.

use arrow_schema::{DataType, Schema};
use substrait::proto::expression::cast::FailureBehavior;
use substrait::proto::expression::field_reference::{ReferenceType, RootType};
use substrait::proto::expression::if_then::IfClause;
use substrait::proto::expression::reference_segment::ReferenceType as Segment;
use substrait::proto::expression::{
    Cast, FieldReference, IfThen, MultiOrList, RexType, ScalarFunction, SingularOrList,
    SwitchExpression,
};
use substrait::proto::function_argument::ArgType;
use substrait::proto::{Expression, FunctionArgument};
use unlade_expr::limits::{MAX_IN_LIST, MAX_OUTPUTS};
use unlade_expr::tree::Kind;
use unlade_expr::{Case, Expr, Literal, Signatures, case, exact_col, lit, null, when};

use crate::demands::Demands;
use crate::error::{SubstraitError, unsupported};
use crate::extensions::Extensions;
use crate::functions::{Resolved, resolve};
use crate::literals::{Constant, literal};
use crate::types::{Names, data_type};

/// Reads the expressions of one message.
pub(crate) struct Reader<'a> {
    pub(crate) extensions: &'a Extensions,
    /// Those that users have registered.
    pub(crate) functions: &'a Signatures,
    pub(crate) input: &'a Schema,
    pub(crate) demands: Demands,
}

impl Reader<'_> {
    pub(crate) fn expression(&mut self, of: &Expression) -> Result<Expr, SubstraitError> {
        match rex(of)? {
            RexType::Literal(given) => match literal(given, self.extensions)? {
                Constant::Typed(literal) => Ok(typed(literal)),
                Constant::Text(_) => unsupported(
                    "text is not computed with: a text literal stands in a cast to a date, \
                     timestamp or number alone",
                ),
            },
            RexType::Selection(field) => self.field(field),
            RexType::ScalarFunction(call) => self.call(call),
            RexType::IfThen(of) => self.if_then(of),
            RexType::SwitchExpression(of) => self.switch(of),
            RexType::SingularOrList(of) => self.in_list(of),
            RexType::MultiOrList(of) => self.in_records(of),
            RexType::Cast(of) => self.cast(of),
            other => {
                let shown: String = format!("{other:?}").chars().take(60).collect();
                unsupported(format!("expressions such as {shown} are not computed"))
            }
        }
    }

    fn optional(
        &mut self,
        of: Option<&Expression>,
        what: &'static str,
    ) -> Result<Expr, SubstraitError> {
        self.expression(of.ok_or(SubstraitError::Unset(what))?)
    }

    fn list(&mut self, of: &[Expression]) -> Result<Vec<Expr>, SubstraitError> {
        of.iter().map(|each| self.expression(each)).collect()
    }

    fn field(&self, reference: &FieldReference) -> Result<Expr, SubstraitError> {
        match reference.root_type {
            Some(RootType::RootReference(_)) => {}
            None => return Err(SubstraitError::Unset("the root of a field reference")),
            Some(_) => {
                return unsupported("fields of expressions and of outer queries are not read");
            }
        }
        let segment = match reference.reference_type.as_ref() {
            Some(ReferenceType::DirectReference(segment)) => segment.reference_type.as_ref(),
            Some(ReferenceType::MaskedReference(_)) => {
                return unsupported("masked references are not read");
            }
            None => None,
        };
        let field = match segment {
            Some(Segment::StructField(field)) if field.child.is_none() => field.field,
            Some(_) => return unsupported("fields of nested columns are not read"),
            None => return Err(SubstraitError::Unset("what a field reference refers to")),
        };
        let fields = self.input.fields();
        match usize::try_from(field).ok().and_then(|at| fields.get(at)) {
            Some(field) => Ok(exact_col(field.name().as_str())),
            None => Err(SubstraitError::Malformed(format!(
                "field {field} is referred to, and the schema has {}",
                fields.len()
            ))),
        }
    }

    fn call(&mut self, call: &ScalarFunction) -> Result<Expr, SubstraitError> {
        let anchor = call.function_reference;
        let declared = self.extensions.function(anchor)?;
        let output = match &call.output_type {
            Some(of) => Some(data_type(of, self.extensions, &mut Names::Nowhere)?.0),
            None => None,
        };
        let wrong = |name: &str, what: String| SubstraitError::Call {
            name: name.to_owned(),
            anchor,
            what,
        };
        match resolve(declared, anchor, self.functions)? {
            Resolved::Known(function) => {
                let of_floats = output.map(|output| output.is_floating());
                self.demands
                    .options(function, anchor, &call.options, of_floats)?;
                let arguments = self.arguments(call)?;
                let applied = function.apply(arguments);
                applied.map_err(|what| wrong(function.name, what))
            }
            Resolved::Users(function) => {
                let name = function.name();
                if let Some(option) = call.options.first() {
                    let what = format!("a user's function has no option `{}`", option.name);
                    return Err(wrong(name, what));
                }
                if let Some(output) = output.filter(|output| output != function.result()) {
                    let what = format!("the message says it gives {output}; it is {function}");
                    return Err(wrong(name, what));
                }
                Ok(function.call(self.arguments(call)?))
            }
        }
    }

    fn arguments(&mut self, call: &ScalarFunction) -> Result<Vec<Expr>, SubstraitError> {
        let arguments = call.arguments.iter();
        arguments.map(|argument| self.argument(argument)).collect()
    }

    fn argument(&mut self, argument: &FunctionArgument) -> Result<Expr, SubstraitError> {
        match argument.arg_type.as_ref() {
            Some(ArgType::Value(value)) => self.expression(value),
            Some(ArgType::Type(_) | ArgType::Enum(_)) => {
                unsupported("no function here takes a type or an enumeration")
            }
            None => Err(SubstraitError::Unset("an argument")),
        }
    }

    fn cast(&mut self, cast: &Cast) -> Result<Expr, SubstraitError> {
        let to = cast.r#type.as_ref();
        let to = to.ok_or(SubstraitError::Unset("the type of a cast"))?;
        let (to, _) = data_type(to, self.extensions, &mut Names::Nowhere)?;
        let input = cast.input.as_deref();
        let input = input.ok_or(SubstraitError::Unset("the input of a cast"))?;
        let input = match rex(input)? {
            RexType::Literal(given) => match literal(given, self.extensions)? {
                Constant::Text(text) => lit(text.as_str()),
                Constant::Typed(literal) => typed(literal),
            },
            _ => self.expression(input)?,
        };
        match FailureBehavior::try_from(cast.failure_behavior) {
            Ok(FailureBehavior::ReturnNull) => Ok(input.try_cast(to)),
            Ok(FailureBehavior::ThrowException) => {
                self.demands.throwing_cast()?;
                Ok(input.cast(to))
            }
            Ok(FailureBehavior::Unspecified) => {
                Err(SubstraitError::Unset("the failure behaviour of a cast"))
            }
            Err(_) => unsupported("the failure behaviour of a cast is not known"),
        }
    }

    /// `CASE`, also with an operand: DataFusion puts that first, as a condition without a value.
    fn if_then(&mut self, of: &IfThen) -> Result<Expr, SubstraitError> {
        let mut clauses = of.ifs.as_slice();
        let mut built = None;
        if let Some((IfClause { r#if, then: None }, others)) = clauses.split_first() {
            built = Some(case(self.optional(r#if.as_ref(), "the operand of an if")?));
            clauses = others;
        }
        for clause in clauses {
            let condition = self.optional(clause.r#if.as_ref(), "the condition of an if")?;
            let value = self.optional(clause.then.as_ref(), "the value of an if")?;
            built = Some(branch(built, condition, value));
        }
        let built = built.filter(|_| !clauses.is_empty());
        let built = built.ok_or(SubstraitError::Unset("every condition of an if"))?;
        self.otherwise(built, of.r#else.as_deref())
    }

    fn switch(&mut self, of: &SwitchExpression) -> Result<Expr, SubstraitError> {
        let mut built = case(self.optional(of.r#match.as_deref(), "the operand of a switch")?);
        for clause in &of.ifs {
            let given = clause.r#if.as_ref();
            let given = given.ok_or(SubstraitError::Unset("the literal of a switch"))?;
            let condition = match literal(given, self.extensions)? {
                Constant::Typed(literal) if literal.value.is_some() => lit(literal),
                _ => return unsupported("a switch on null or on text is not computed"),
            };
            let value = self.optional(clause.then.as_ref(), "the value of a switch")?;
            built = branch(Some(built), condition, value);
        }
        self.otherwise(built, of.r#else.as_deref())
    }

    fn otherwise(&mut self, case: Case, of: Option<&Expression>) -> Result<Expr, SubstraitError> {
        Ok(match of {
            Some(of) => case.otherwise(self.expression(of)?),
            None => case.end(),
        })
    }

    fn in_list(&mut self, of: &SingularOrList) -> Result<Expr, SubstraitError> {
        bound(of.options.len(), MAX_IN_LIST, "members of a list")?;
        let value = self.optional(of.value.as_deref(), "the value of a list")?;
        Ok(value.in_list(self.list(&of.options)?))
    }

    /// Several values, equal to those of one record each.
    fn in_records(&mut self, of: &MultiOrList) -> Result<Expr, SubstraitError> {
        let values = self.list(&of.value)?;
        // They are repeated for each record.
        let is_small =
            |value: &Expr| matches!(value.kind(), Kind::Column { .. } | Kind::Literal(_));
        if !values.iter().all(is_small) {
            return unsupported("records are compared with columns and constants alone");
        }
        bound(
            of.options.len().saturating_mul(values.len()),
            MAX_OUTPUTS,
            "values in the records of a list",
        )?;
        let mut any: Option<Expr> = None;
        for record in &of.options {
            if record.fields.len() != values.len() {
                return Err(SubstraitError::Malformed(format!(
                    "a record of {} fields is compared with {} values",
                    record.fields.len(),
                    values.len()
                )));
            }
            let fields = self.list(&record.fields)?;
            let equal = values.iter().cloned().zip(fields);
            let all = equal
                .map(|(value, field)| value.eq(field))
                .reduce(Expr::and);
            let all = all.ok_or(SubstraitError::Unset("the values of a list"))?;
            any = Some(match any {
                Some(others) => others.or(all),
                None => all,
            });
        }
        any.ok_or(SubstraitError::Unset("every record of a list"))
    }
}

/// A null that has no type of its own takes that of what stands beside it.
fn typed(literal: Literal) -> Expr {
    match literal.data_type {
        DataType::Null => null(),
        _ => lit(literal),
    }
}

/// The type that an expression is declared to have, where it is.
pub(crate) fn declared(
    of: &Expression,
    extensions: &Extensions,
) -> Result<Option<DataType>, SubstraitError> {
    let of = match rex(of)? {
        RexType::ScalarFunction(call) => call.output_type.as_ref(),
        RexType::Cast(cast) => cast.r#type.as_ref(),
        _ => None,
    };
    let of = of.map(|of| data_type(of, extensions, &mut Names::Nowhere));
    Ok(of.transpose()?.map(|(data_type, _)| data_type))
}

fn rex(of: &Expression) -> Result<&RexType, SubstraitError> {
    of.rex_type
        .as_ref()
        .ok_or(SubstraitError::Unset("an expression"))
}

fn branch(built: Option<Case>, condition: Expr, value: Expr) -> Case {
    match built {
        Some(case) => case.when(condition),
        None => when(condition),
    }
    .then(value)
}

fn bound(count: usize, most: usize, what: &'static str) -> Result<(), SubstraitError> {
    match count <= most {
        true => Ok(()),
        false => Err(SubstraitError::Limit { what, most }),
    }
}
