//! What the anchors of a message stand for.

use std::collections::HashMap;

use substrait::proto::ExtendedExpression;
use substrait::proto::extensions::simple_extension_declaration::MappingType;

use crate::error::{SubstraitError, unsupported};
use crate::upgrade::decode;

/// What a message declares.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    functions: HashMap<u32, Declared>,
    types: HashMap<u32, Declared>,
}

/// A function or type that is declared.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) origin: Origin,
}

/// Of which extension something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It does not say.
    Bare,
    /// One of Substrait's own, by the name of its file: `functions_comparison`.
    Standard(String),
    /// Arrow's functions or types.
    Arrow,
    /// Another, by URI or URN.
    Other(String),
}

impl Extensions {
    /// Of a message and the bytes that it was, before they were upgraded.
    pub(crate) fn new(message: &ExtendedExpression, bytes: &[u8]) -> Result<Self, SubstraitError> {
        let old: old::ExtendedExpression = decode(bytes)?;
        let uris = old.uris.into_iter().map(|each| (each.anchor, each.uri));
        let urns = message.extension_urns.iter();
        let origins = Origins {
            uris: uris.collect(),
            urns: urns
                .map(|each| (each.extension_urn_anchor, each.urn.clone()))
                .collect(),
        };
        let mut extensions = Extensions::default();
        for (declaration, old) in message.extensions.iter().zip(old.declarations) {
            let mapping = declaration.mapping_type.as_ref();
            let (anchors, anchor, name, urn, old) =
                match mapping.ok_or(SubstraitError::Unset("the mapping of an extension"))? {
                    MappingType::ExtensionFunction(function) => (
                        &mut extensions.functions,
                        function.function_anchor,
                        &function.name,
                        function.extension_urn_reference,
                        old.of_function,
                    ),
                    MappingType::ExtensionType(of_type) => (
                        &mut extensions.types,
                        of_type.type_anchor,
                        &of_type.name,
                        of_type.extension_urn_reference,
                        old.of_type,
                    ),
                    MappingType::ExtensionTypeVariation(variation) => {
                        return unsupported(format!(
                            "the variation of a type `{}` (anchor {}) is not known",
                            variation.name, variation.type_variation_anchor
                        ));
                    }
                };
            let uri = old.and_then(|old| old.uri);
            let declared = Declared {
                name: name.clone(),
                origin: origins.find(name, urn, uri)?,
            };
            if anchors.insert(anchor, declared).is_some() {
                return Err(SubstraitError::Malformed(format!(
                    "anchor {anchor} is declared twice"
                )));
            }
        }
        Ok(extensions)
    }

    pub(crate) fn function(&self, anchor: u32) -> Result<&Declared, SubstraitError> {
        self.functions.get(&anchor).ok_or_else(|| {
            SubstraitError::Malformed(format!("no function is declared at anchor {anchor}"))
        })
    }

    pub(crate) fn data_type(&self, anchor: u32) -> Result<&Declared, SubstraitError> {
        self.types.get(&anchor).ok_or_else(|| {
            SubstraitError::Malformed(format!("no type is declared at anchor {anchor}"))
        })
    }
}

/// URIs of old versions and URNs of new ones, each by anchors of their own.
struct Origins {
    uris: HashMap<u32, String>,
    urns: HashMap<u32, String>,
}

impl Origins {
    /// A reference that is none: what DataFusion writes.
    const NOWHERE: u32 = u32::MAX;

    fn find(&self, name: &str, urn: u32, uri: Option<u32>) -> Result<Origin, SubstraitError> {
        if let Some(urn) = self.urns.get(&urn) {
            return Ok(Origin::of(urn));
        }
        // An anchor that is not written is 0.
        let reference = uri.unwrap_or(0);
        if let Some(uri) = self.uris.get(&reference) {
            return Ok(Origin::of(uri));
        }
        let dangling = [urn, reference]
            .into_iter()
            .find(|reference| ![0, Self::NOWHERE].contains(reference));
        match dangling {
            None => Ok(Origin::Bare),
            Some(anchor) => Err(SubstraitError::Malformed(format!(
                "`{name}` is said to be of the extension at anchor {anchor}, where none is declared"
            ))),
        }
    }
}

impl Origin {
    fn of(text: &str) -> Self {
        const STANDARD: [&str; 5] = [
            "extension:io.substrait:",
            "https://github.com/substrait-io/substrait/blob/main/extensions/",
            "https://raw.githubusercontent.com/substrait-io/substrait/main/extensions/",
            "/extensions/",
            "/",
        ];
        const ARROW: [&str; 2] = [
            "urn:arrow:substrait_simple_extension_function",
            "https://github.com/apache/arrow/blob/main/format/substrait/extension_types.yaml",
        ];
        if ARROW.contains(&text) {
            return Origin::Arrow;
        }
        let file = STANDARD.iter().find_map(|start| text.strip_prefix(start));
        match file.map(|file| file.strip_suffix(".yaml").unwrap_or(file)) {
            Some(file) if !file.contains('/') => Origin::Standard(file.to_owned()),
            _ => Origin::Other(text.to_owned()),
        }
    }

    /// In the words of an error.
    pub(crate) fn describe(&self) -> String {
        match self {
            Origin::Bare => "of no extension".to_owned(),
            Origin::Standard(file) => format!("of Substrait's {file}"),
            Origin::Arrow => "of Arrow's own".to_owned(),
            Origin::Other(text) => format!("of {text:?}"),
        }
    }
}

/// Fields that versions up to 0.8x have: URIs, where there are URNs now.
mod old {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExtendedExpression {
        #[prost(message, repeated, tag = "1")]
        pub(super) uris: Vec<Uri>,
        #[prost(message, repeated, tag = "2")]
        pub(super) declarations: Vec<Declaration>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Uri {
        #[prost(uint32, tag = "1")]
        pub(super) anchor: u32,
        #[prost(string, tag = "2")]
        pub(super) uri: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Declaration {
        #[prost(message, optional, tag = "1")]
        pub(super) of_type: Option<Reference>,
        #[prost(message, optional, tag = "3")]
        pub(super) of_function: Option<Reference>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Reference {
        #[prost(uint32, optional, tag = "1")]
        pub(super) uri: Option<u32>,
    }
}
