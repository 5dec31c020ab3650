//! The source from which the engine reads the resources that it pushes.

use std::sync::Arc;

use crate::directory::{Directory, DirectoryError};
use crate::domain::{Kind, Relations, Resource, ResourceId};

type Read = dyn Fn(&Kind, &ResourceId, Relations) -> Result<Option<Resource>, DirectoryError> + Send + Sync;

/// Reads the current state of resources.
#[derive(Clone)]
pub struct Source(Arc<Read>);

impl Source {
    /// Returns a source that reads through the directory.
    pub fn directory(directory: Arc<Directory>) -> Self {
        Self::new(move |kind, id, relations| directory.get(kind, id, relations))
    }

    /// Returns a source that reads through a function, such as one over the resources of a test.
    pub fn new(
        read: impl Fn(&Kind, &ResourceId, Relations) -> Result<Option<Resource>, DirectoryError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(read))
    }

    /// Returns one resource; `None` if it does not exist.
    pub(super) fn get(
        &self,
        kind: &Kind,
        id: &ResourceId,
        relations: Relations,
    ) -> Result<Option<Resource>, DirectoryError> {
        (self.0)(kind, id, relations)
    }
}
