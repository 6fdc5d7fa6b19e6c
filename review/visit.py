"""Who looks at which workspace, and what they may do there: what each page is given."""

from dataclasses import dataclass

import polars as pl

from review.opened import Tables
from storage import queries
from storage.reviews import Reviews
from storage.workspace import Workspace


@dataclass(frozen=True)
class Visit:
    """`reviews` is None where they have no place to go: an object-store workspace without a database. `reviewer` is
    empty as long as the person gave no name."""

    tables: Tables
    reviews: Reviews | None
    reviewer: str = ""
    read_only: bool = False

    @property
    def workspace(self) -> Workspace:
        return self.tables.workspace

    @property
    def writes_to(self) -> Reviews | None:
        """Where this person's reviews go; None where nothing may be written."""
        return None if self.read_only else self.reviews

    def newest_reviews(self) -> pl.DataFrame:
        return self.reviews.newest() if self.reviews else queries.no_reviews()
