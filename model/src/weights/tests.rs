//! Loading and exporting whole models.
