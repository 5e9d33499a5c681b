//! Messages by hand.

use prost::Message;
use substrait::proto::expression::cast::FailureBehavior;
use substrait::proto::expression::field_reference::{ReferenceType, RootReference, RootType};
use substrait::proto::expression::literal::LiteralType;
use substrait::proto::expression::reference_segment::{self, StructField};
use substrait::proto::expression::{
    Cast, FieldReference, Literal, ReferenceSegment, RexType, ScalarFunction,
};
use substrait::proto::expression_reference::ExprType;
use substrait::proto::extensions::simple_extension_declaration::{ExtensionFunction, MappingType};
use substrait::proto::extensions::{SimpleExtensionDeclaration, SimpleExtensionUrn};
use substrait::proto::function_argument::ArgType;
use substrait::proto::r#type::{self, Kind};
use substrait::proto::{
    Expression, ExpressionReference, ExtendedExpression, FunctionArgument, FunctionOption,
    NamedStruct, Type, Version,
};

/// What DataFusion gives as the URN of a function, of which it knows none.
pub(crate) const NOWHERE: u32 = u32::MAX;

const COMPARISON: &str = "extension:io.substrait:functions_comparison";
const BOOLEAN: &str = "extension:io.substrait:functions_boolean";
const ARITHMETIC: &str = "extension:io.substrait:functions_arithmetic";

/// URNs, by their anchors.
pub(crate) const URNS: [(u32, &str); 3] = [(1, COMPARISON), (2, BOOLEAN), (3, ARITHMETIC)];

/// The columns of [`message`]: an `i32`, an `i64`, a `fp64`, an unsigned `i32` as DataFusion has it,
/// a date and a boolean.
pub(crate) const COLUMNS: [&str; 6] = ["a", "b", "f", "u", "d", "p"];

/// A message of one expression over [`COLUMNS`], whose functions are at anchors from 0 on.
pub(crate) fn message(functions: &[(u32, &str)], expression: Expression) -> ExtendedExpression {
    let functions = functions.iter().enumerate();
    let declare = |(anchor, (urn, name)): (usize, &(u32, &str))| SimpleExtensionDeclaration {
        mapping_type: Some(MappingType::ExtensionFunction(ExtensionFunction {
            extension_urn_reference: *urn,
            function_anchor: anchor as u32,
            name: (*name).to_owned(),
        })),
    };
    let date = Kind::Date(r#type::Date {
        type_variation_reference: 0,
        nullability: 1,
    });
    let kinds = [
        i32_type(0),
        i64_type(),
        fp64_type(),
        i32_type(1),
        date,
        bool_type(),
    ];
    let types = kinds.map(|kind| Type { kind: Some(kind) }).to_vec();
    ExtendedExpression {
        version: Some(Version {
            minor_number: 85,
            producer: "a test".to_owned(),
            ..Version::default()
        }),
        extension_urns: URNS
            .map(|(extension_urn_anchor, urn)| SimpleExtensionUrn {
                extension_urn_anchor,
                urn: urn.to_owned(),
            })
            .to_vec(),
        extensions: functions.map(declare).collect(),
        referred_expr: vec![ExpressionReference {
            output_names: vec!["out".to_owned()],
            expr_type: Some(ExprType::Expression(expression)),
        }],
        base_schema: Some(NamedStruct {
            names: COLUMNS.map(str::to_owned).to_vec(),
            r#struct: Some(r#type::Struct {
                types,
                type_variation_reference: 0,
                nullability: 2,
            }),
        }),
        ..ExtendedExpression::default()
    }
}

/// Its bytes.
pub(crate) fn bytes(functions: &[(u32, &str)], expression: Expression) -> Vec<u8> {
    message(functions, expression).encode_to_vec()
}

pub(crate) fn i32_type(type_variation_reference: u32) -> Kind {
    Kind::I32(r#type::I32 {
        type_variation_reference,
        nullability: 1,
    })
}

pub(crate) fn i64_type() -> Kind {
    Kind::I64(r#type::I64 {
        type_variation_reference: 0,
        nullability: 1,
    })
}

pub(crate) fn fp64_type() -> Kind {
    Kind::Fp64(r#type::Fp64 {
        type_variation_reference: 0,
        nullability: 1,
    })
}

pub(crate) fn bool_type() -> Kind {
    Kind::Bool(r#type::Boolean {
        type_variation_reference: 0,
        nullability: 1,
    })
}

pub(crate) fn rex(rex: RexType) -> Expression {
    Expression {
        rex_type: Some(rex),
    }
}

/// A column of [`COLUMNS`].
pub(crate) fn column(name: &str) -> Expression {
    let at = COLUMNS.iter().position(|column| *column == name);
    field(at.expect("it is one of the columns") as i32)
}

pub(crate) fn field(field: i32) -> Expression {
    let field = Box::new(StructField { field, child: None });
    rex(RexType::Selection(Box::new(FieldReference {
        reference_type: Some(ReferenceType::DirectReference(ReferenceSegment {
            reference_type: Some(reference_segment::ReferenceType::StructField(field)),
        })),
        root_type: Some(RootType::RootReference(RootReference {})),
    })))
}

pub(crate) fn literal(value: LiteralType) -> Expression {
    rex(RexType::Literal(given(value)))
}

pub(crate) fn given(value: LiteralType) -> Literal {
    Literal {
        nullable: false,
        type_variation_reference: 0,
        literal_type: Some(value),
    }
}

/// A call of the function at an anchor.
pub(crate) fn call(anchor: u32, output: Kind, arguments: Vec<Expression>) -> Expression {
    with_options(anchor, Some(output), arguments, &[])
}

pub(crate) fn with_options(
    function_reference: u32,
    output: Option<Kind>,
    arguments: Vec<Expression>,
    options: &[(&str, &[&str])],
) -> Expression {
    let argument = |value| FunctionArgument {
        arg_type: Some(ArgType::Value(value)),
    };
    let option = |(name, preference): &(&str, &[&str])| FunctionOption {
        name: (*name).to_owned(),
        preference: preference.iter().map(|each| (*each).to_owned()).collect(),
    };
    rex(RexType::ScalarFunction(ScalarFunction {
        function_reference,
        arguments: arguments.into_iter().map(argument).collect(),
        options: options.iter().map(option).collect(),
        output_type: output.map(|kind| Type { kind: Some(kind) }),
    }))
}

pub(crate) fn cast(input: Expression, to: Kind, behavior: FailureBehavior) -> Expression {
    rex(RexType::Cast(Box::new(Cast {
        r#type: Some(Type { kind: Some(to) }),
        input: Some(Box::new(input)),
        failure_behavior: behavior.into(),
    })))
}
