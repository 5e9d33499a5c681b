//! Functions that are not of the language: what one that a user has written is called, takes and
//! gives.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::{DataType, Field};

use crate::display::is_plain_identifier;
use crate::error::{ExprError, ExprErrorKind};
use crate::functions::function_names;
use crate::limits::{MAX_ARGUMENTS, MAX_FUNCTION_NAME, MAX_FUNCTIONS};
use crate::tree::{Expr, Kind};
use crate::type_name::takes_parameters;

/// What a user's scalar function is called, takes and gives. What it computes is known where it is
/// registered: an expression has its signature alone. Two are equal by name, types, and whether there are
/// nulls.
///
/// ```
/// use std::sync::Arc;
/// use arrow_schema::DataType;
/// use unlade_expr::{Signature, Signatures, col, lit, parse_expr_with};
///
/// let gcd = Signature::new("gcd", [DataType::Int64, DataType::Int64], DataType::Int64)?;
/// assert_eq!(gcd.to_string(), "gcd(Int64, Int64) -> Int64");
///
/// let mut known = Signatures::default();
/// let gcd = known.insert(gcd)?;
/// let expr = parse_expr_with("gcd(a, 12) > 1", &known)?;
/// assert_eq!(expr, gcd.call([col("a"), lit(12)]).gt(lit(1)));
/// # Ok::<(), unlade_expr::ExprError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Signature {
    name: Box<str>,
    arguments: Box<[DataType]>,
    result: DataType,
    nullable: bool,
    metadata: HashMap<String, String>,
}

impl Signature {
    /// A function of this name, of arguments of these types, with results of this one, some of which
    /// may be null.
    ///
    /// Arguments and results may be of any Arrow type. Of those that expressions do not compute with,
    /// an argument is a column as it is, or another call.
    ///
    /// # Errors
    /// A name that text would have to quote, that is longer than
    /// [`MAX_FUNCTION_NAME`](crate::limits::MAX_FUNCTION_NAME) or that the language has; no argument, or
    /// more than [`MAX_ARGUMENTS`](crate::limits::MAX_ARGUMENTS).
    pub fn new(
        name: impl Into<Box<str>>,
        arguments: impl IntoIterator<Item = DataType>,
        result: DataType,
    ) -> Result<Self, ExprError> {
        let name = name.into();
        check_name(&name)?;
        let arguments: Box<[DataType]> = arguments.into_iter().take(MAX_ARGUMENTS + 1).collect();
        if arguments.is_empty() {
            return Err(ExprError::new(
                ExprErrorKind::Unsupported,
                format!("function `{name}` takes no argument"),
            )
            .with_help("its result is the same on every row: write that as a constant"));
        }
        if arguments.len() > MAX_ARGUMENTS {
            return Err(ExprError::new(
                ExprErrorKind::Limit,
                format!("function `{name}` takes more than {MAX_ARGUMENTS} arguments"),
            ));
        }
        Ok(Signature {
            name,
            arguments,
            result,
            nullable: true,
            metadata: HashMap::new(),
        })
    }

    /// The same function, none of whose results is ever null.
    pub fn never_null(self) -> Self {
        Signature {
            nullable: false,
            ..self
        }
    }

    /// The same function, whose results are columns with this metadata, wherever a query puts them out as
    /// they are: of an extension type, say. It says nothing of a value.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arrow_schema::{DataType, Field, Schema};
    /// use unlade_expr::{Query, Semantics, Signature, check_staged, col};
    ///
    /// let metadata = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())];
    /// let uuid = Signature::new("uuid", [DataType::Utf8], DataType::FixedSizeBinary(16))?;
    /// let uuid = Arc::new(uuid.with_result_metadata(metadata.into()));
    ///
    /// let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, false)]));
    /// let query = Query::all().select([uuid.call([col("text")]).alias("id")]);
    /// let staged = check_staged(&query, &schema, &Semantics::arrow())?;
    /// assert_eq!(staged.checked.output.field(0).metadata(), uuid.result_metadata());
    /// # Ok::<(), unlade_expr::ExprError>(())
    /// ```
    pub fn with_result_metadata(self, metadata: HashMap<String, String>) -> Self {
        Signature { metadata, ..self }
    }

    /// Its name, as it was given. Letter case does not count.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Types of its arguments, one at least.
    pub fn arguments(&self) -> &[DataType] {
        &self.arguments
    }

    /// Type of its results.
    pub fn result(&self) -> &DataType {
        &self.result
    }

    /// Whether a result may be null.
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Metadata of columns that are its results.
    pub fn result_metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// A call of it. Whether the arguments are as many as it takes, and of its types, the check says.
    pub fn call(self: &Arc<Self>, arguments: impl IntoIterator<Item = Expr>) -> Expr {
        Expr::new(Kind::Call {
            function: Arc::clone(self),
            args: arguments.into_iter().collect(),
        })
    }
}

impl Signature {
    /// What it is known by.
    fn identity(&self) -> (&str, &[DataType], &DataType, bool) {
        (&self.name, &self.arguments, &self.result, self.nullable)
    }
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Signature {}

impl Hash for Signature {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (position, argument) in self.arguments.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{argument}")?;
        }
        write!(f, ") -> {}", self.result)?;
        match self.nullable {
            true => Ok(()),
            false => f.write_str(", never null"),
        }
    }
}

/// Whether an array of a type may stand where one of another is wanted, under that one's name: the types
/// are the same but for names of lists' items and of maps' entries, and for metadata, none of which says
/// anything of a value; and where nulls are not wanted, there can be none.
///
/// ```
/// use std::sync::Arc;
/// use arrow_schema::{DataType, Field};
/// use unlade_expr::stands_for;
///
/// let list = |name: &str| DataType::List(Arc::new(Field::new(name, DataType::Int64, true)));
/// assert!(stands_for(&list("item"), &list("element")));
/// assert!(!stands_for(&DataType::Utf8View, &DataType::Utf8));
/// ```
pub fn stands_for(found: &DataType, wanted: &DataType) -> bool {
    let below = |found: &Field, wanted: &Field| {
        (wanted.is_nullable() || !found.is_nullable())
            && stands_for(found.data_type(), wanted.data_type())
    };
    match (found, wanted) {
        (DataType::List(found), DataType::List(wanted))
        | (DataType::LargeList(found), DataType::LargeList(wanted))
        | (DataType::ListView(found), DataType::ListView(wanted))
        | (DataType::LargeListView(found), DataType::LargeListView(wanted)) => below(found, wanted),
        (DataType::FixedSizeList(found, length), DataType::FixedSizeList(wanted, other)) => {
            length == other && below(found, wanted)
        }
        (DataType::Struct(found), DataType::Struct(wanted)) => {
            let mut pairs = found.iter().zip(wanted);
            found.len() == wanted.len()
                && pairs
                    .all(|(found, wanted)| found.name() == wanted.name() && below(found, wanted))
        }
        (DataType::Map(found, sorted), DataType::Map(wanted, other)) => {
            let (DataType::Struct(found), DataType::Struct(wanted)) =
                (found.data_type(), wanted.data_type())
            else {
                return false;
            };
            let mut pairs = found.iter().zip(wanted);
            sorted == other
                && found.len() == wanted.len()
                && pairs.all(|(found, wanted)| below(found, wanted))
        }
        (DataType::Dictionary(keys, found), DataType::Dictionary(other, wanted)) => {
            keys == other && stands_for(found, wanted)
        }
        _ => found == wanted,
    }
}

/// The users' functions that a reader of expressions knows, by name. No two have one name, whatever
/// their letter case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// By the name in lower case.
    known: BTreeMap<Box<str>, Arc<Signature>>,
}

impl Signatures {
    /// None.
    pub fn none() -> &'static Self {
        static NONE: Signatures = Signatures {
            known: BTreeMap::new(),
        };
        &NONE
    }

    /// Adds one, and hands it back to be called.
    ///
    /// # Errors
    /// A name that another has already; more than [`MAX_FUNCTIONS`](crate::limits::MAX_FUNCTIONS).
    pub fn insert(&mut self, signature: Signature) -> Result<Arc<Signature>, ExprError> {
        let key = key(signature.name());
        if let Some(other) = self.known.get(&key) {
            return Err(ExprError::new(
                ExprErrorKind::Unsupported,
                format!("there is a function `{}` already", other.name()),
            )
            .with_help("give this one another name: one that is known stays as it is"));
        }
        if self.known.len() == MAX_FUNCTIONS {
            return Err(ExprError::new(
                ExprErrorKind::Limit,
                format!("there are {MAX_FUNCTIONS} functions, as many as there may be"),
            ));
        }
        let signature = Arc::new(signature);
        self.known.insert(key, Arc::clone(&signature));
        Ok(signature)
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Signature>> {
        self.known.get(&key(name))
    }

    /// The one that equals this, or the error that refuses an expression which calls it.
    ///
    /// # Errors
    /// [`Unknown`](ExprErrorKind::Unknown) where there is none of its name,
    /// [`Type`](ExprErrorKind::Type) where that has other types.
    pub fn require(&self, wanted: &Signature) -> Result<&Arc<Signature>, ExprError> {
        match self.get(wanted.name()) {
            Some(known) if **known == *wanted => Ok(known),
            Some(known) => Err(ExprError::new(
                ExprErrorKind::Type,
                format!("the expression calls {wanted}; registered is {known}"),
            )
            .with_help("register it with the types that it was written for, or change the call")),
            None => Err(ExprError::new(
                ExprErrorKind::Unknown,
                format!("the expression calls {wanted}, which is not registered here"),
            )
            .with_help("register a function of this name and these types first")),
        }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Signature>> {
        self.known.values()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|signature| signature.name())
    }
}

fn key(name: &str) -> Box<str> {
    name.to_ascii_lowercase().into()
}

fn check_name(name: &str) -> Result<(), ExprError> {
    if name.len() > MAX_FUNCTION_NAME {
        return Err(ExprError::new(
            ExprErrorKind::Limit,
            format!(
                "the name of a function has {} bytes; at most {MAX_FUNCTION_NAME} are accepted",
                name.len()
            ),
        ));
    }
    if !is_plain_identifier(name) {
        return Err(ExprError::new(
            ExprErrorKind::Unsupported,
            format!("{name:?} is no name of a function"),
        )
        .with_help(
            "it has letters of ASCII, digits and `_`, does not begin with a digit, and is no word \
             that structures an expression",
        ));
    }
    let is_taken = function_names().any(|known| known.eq_ignore_ascii_case(name));
    if is_taken || takes_parameters(name) {
        return Err(ExprError::new(
            ExprErrorKind::Unsupported,
            format!("`{name}` is a word of the language"),
        )
        .with_help("give the function another name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Result<Signature, ExprError> {
        Signature::new(name, [DataType::Int64], DataType::Int64)
    }

    #[test]
    fn names_of_the_language_are_taken() {
        for name in function_names() {
            assert!(named(name).is_err(), "{name}");
            assert!(named(&name.to_uppercase()).is_err(), "{name}");
        }
        for name in [
            "",
            "a b",
            "1st",
            "a-b",
            "\u{e4}",
            "and",
            "CASE",
            "Decimal",
            "timestamp",
        ] {
            assert!(named(name).is_err(), "{name}");
        }
        assert!(named(&"f".repeat(MAX_FUNCTION_NAME + 1)).is_err());
        for name in ["f", "_1", "Date_Of", &"f".repeat(MAX_FUNCTION_NAME)] {
            assert_eq!(named(name).unwrap().name(), name);
        }
    }

    #[test]
    fn arguments_are_at_least_one_and_at_most_so_many() {
        let of = |count| Signature::new("f", vec![DataType::Int8; count], DataType::Int8);
        assert!(of(0).is_err() && of(MAX_ARGUMENTS + 1).is_err());
        assert_eq!(of(MAX_ARGUMENTS).unwrap().arguments().len(), MAX_ARGUMENTS);
    }

    #[test]
    fn a_name_is_given_once_whatever_its_letter_case() {
        let mut known = Signatures::default();
        let first = known.insert(named("Half").unwrap()).unwrap();
        let error = known.insert(named("hALF").unwrap()).unwrap_err();
        assert_eq!(error.message(), "there is a function `Half` already");
        assert_eq!(known.get("HALF"), Some(&first));
        for position in 1..MAX_FUNCTIONS {
            known
                .insert(named(&format!("f{position}")).unwrap())
                .unwrap();
        }
        assert!(known.insert(named("one_more").unwrap()).is_err());
    }

    /// So that one on the wire, which says its types, is the one that is registered.
    #[test]
    fn metadata_of_results_does_not_tell_functions_apart() {
        let metadata = HashMap::from([("key".to_owned(), "value".to_owned())]);
        let marked = named("half")
            .unwrap()
            .with_result_metadata(metadata.clone());
        assert_eq!(marked, named("half").unwrap());
        let hashed = std::collections::HashSet::from([marked.clone(), named("half").unwrap()]);
        assert_eq!(hashed.len(), 1);
        let mut known = Signatures::default();
        known.insert(marked).unwrap();
        let found = known.require(&named("half").unwrap()).unwrap();
        assert_eq!(*found.result_metadata(), metadata);
    }

    #[test]
    fn a_call_needs_the_very_function() {
        let mut known = Signatures::default();
        known.insert(named("half").unwrap()).unwrap();
        assert!(known.require(&named("half").unwrap()).is_ok());
        let never_null = named("half").unwrap().never_null();
        let error = known.require(&never_null).unwrap_err();
        assert_eq!(error.kind(), ExprErrorKind::Type);
        let error = known.require(&named("third").unwrap()).unwrap_err();
        assert_eq!(error.kind(), ExprErrorKind::Unknown);
    }
}
