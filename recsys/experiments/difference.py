"""An arm against control: how far apart they are, absolutely and relatively, and how sure that is."""

import math
from dataclasses import dataclass

from recsys.experiments.estimate import ArmEstimate


@dataclass(frozen=True)
class Difference:
    """Treatment minus control on one metric."""

    estimate: float
    """Of the adjusted means."""
    std_error: float
    degrees_of_freedom: float
    """Of Welch and Satterthwaite."""
    n: int
    """Units of both arms."""
    control_mean: float
    """Without covariates: what a relative difference refers to."""
    control_squared_error: float
    control_covariance: float
    """Of ``estimate`` and ``control_mean``."""

    @property
    def z(self) -> float:
        """The estimate in standard errors."""
        return self.estimate / self.std_error

    def interval(self, critical: float) -> tuple[float, float]:
        """The estimate, give or take ``critical`` standard errors."""
        half = critical * self.std_error
        return self.estimate - half, self.estimate + half

    @property
    def relative(self) -> float | None:
        """The estimate as a share of control's mean; ``None`` where that is zero."""
        return self.estimate / self.control_mean if self.control_mean else None

    def relative_interval(self, critical: float) -> tuple[float, float] | None:
        """All relative differences that the data do not contradict; ``None`` where they have no bounds.

        It excludes zero exactly when ``interval`` does, so the two never tell different stories. It has no
        bounds when control's mean is less than ``critical`` standard errors from zero.

        Source: Fieller, "Some problems in interval estimation", 1954: all r with
        (D - r M)^2 <= c^2 Var(D - r M).
        """
        squared = critical**2
        leading = self.control_mean**2 - squared * self.control_squared_error
        if leading <= 0:
            return None
        middle = self.estimate * self.control_mean - squared * self.control_covariance
        last = self.estimate**2 - squared * self.std_error**2
        root = math.sqrt(max(middle**2 - leading * last, 0.0))
        return (middle - root) / leading, (middle + root) / leading


def compare(treatment: ArmEstimate, control: ArmEstimate) -> Difference:
    """Subtract control from treatment; both have at least two units.

    Source: Welch, "The generalization of Student's problem", 1947. With CUPED the relative difference divides
    by control's plain mean, and the covariance of the two is accounted for.
    """
    total = treatment.squared_error + control.squared_error
    spread = sum(arm.squared_error**2 / arm.degrees_of_freedom for arm in (treatment, control))
    return Difference(
        estimate=treatment.adjusted_mean - control.adjusted_mean,
        std_error=math.sqrt(total),
        degrees_of_freedom=total**2 / spread if spread else math.inf,
        n=treatment.n + control.n,
        control_mean=control.mean,
        control_squared_error=control.variance / control.n,
        control_covariance=-control.adjusted_covariance / control.n,
    )
