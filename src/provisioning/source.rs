//! Where the engine reads the resources that it pushes.

use std::sync::Arc;

use crate::directory::{Directory, DirectoryError};
use crate::domain::{Kind, Relations, Resource, ResourceId};

type Read = dyn Fn(&Kind, &ResourceId, Relations) -> Result<Option<Resource>, DirectoryError> + Send + Sync;

/// Reads resources as they are now.
#[derive(Clone)]
pub struct Source(Arc<Read>);

impl Source {
    /// Reads through the directory.
    pub fn directory(directory: Arc<Directory>) -> Self {
        Self::new(move |kind, id, relations| directory.get(kind, id, relations))
    }

    /// Reads through a function, such as one over resources that a test made up.
    pub fn new(
        read: impl Fn(&Kind, &ResourceId, Relations) -> Result<Option<Resource>, DirectoryError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(read))
    }

    /// One resource; `None` if there is none.
    pub(super) fn get(
        &self,
        kind: &Kind,
        id: &ResourceId,
        relations: Relations,
    ) -> Result<Option<Resource>, DirectoryError> {
        (self.0)(kind, id, relations)
    }
}
