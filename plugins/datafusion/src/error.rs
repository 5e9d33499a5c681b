//! Errors of a runtime as DataFusion's.

use datafusion::common::DataFusionError;
use unlade::Error;

/// Memory that is used up is an error of its own there; all else is one from outside, with its words.
pub(crate) fn from_runtime(error: Error) -> DataFusionError {
    match error {
        Error::Exhausted(exhausted) => DataFusionError::ResourcesExhausted(exhausted.to_string()),
        other => DataFusionError::External(Box::new(other)),
    }
}
