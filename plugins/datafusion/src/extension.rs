//! How a session is given it.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionConfig;
use unlade::Runtime;

use crate::config::UnladeConfig;
use crate::rule::UnladeRule;

/// What a builder of sessions can be given.
pub trait SessionStateBuilderExt {
    /// Has filters and projections run on a runtime's devices, by [`UnladeRule`], and makes
    /// [`UnladeConfig`] known, unless it is. To be given after `with_config`, which replaces that.
    fn with_unlade(self, runtime: &Runtime) -> Self;
}

impl SessionStateBuilderExt for SessionStateBuilder {
    fn with_unlade(mut self, runtime: &Runtime) -> Self {
        let config = self.config().get_or_insert_with(SessionConfig::new);
        let extensions = &mut config.options_mut().extensions;
        if extensions.get::<UnladeConfig>().is_none() {
            extensions.insert(UnladeConfig::default());
        }
        self.with_physical_optimizer_rule(Arc::new(UnladeRule::new(runtime)))
    }
}
