"""Runs: what was asked for, its script and files, its tasks, what it waits for, and idempotency keys."""

import sqlalchemy as sa
from alembic import op

from headrace_server.kernel.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.create_table(
        "runs",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("user_name", sa.String(64), nullable=False),
        sa.Column("cluster", sa.String(100), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("door", sa.String(16), nullable=False),
        sa.Column("layer", sa.String(16), nullable=False),
        sa.Column("preset", sa.String(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("slurm_states", sa.JSON(), nullable=False),
        sa.Column("reason_code", sa.String(64)),
        sa.Column("reason_text", sa.Text()),
        sa.Column("reason_number", sa.Integer()),
        sa.Column("queue_reason", sa.Text()),
        sa.Column("job_id", sa.BigInteger()),
        sa.Column("array_tasks", sa.Text()),
        sa.Column("tasks", sa.JSON(), nullable=False),
        sa.Column("nodes", sa.Text()),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("signal", sa.Integer()),
        sa.Column("working_directory", sa.Text()),
        sa.Column("standard_output", sa.Text()),
        sa.Column("standard_error", sa.Text()),
        sa.Column("own_folder", sa.Boolean(), nullable=False),
        sa.Column("description", sa.JSON(), nullable=False),
        sa.Column("placed_at", UtcDateTime()),
        sa.Column("begun_at", UtcDateTime()),
        sa.Column("certain_after", UtcDateTime()),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", UtcDateTime()),
        sa.Column("cancel_requested_at", UtcDateTime()),
        sa.Column("cancel_sent_at", UtcDateTime()),
        sa.Column("missing_since", UtcDateTime()),
        sa.Column("intent_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("submitted_at", UtcDateTime()),
        sa.Column("started_at", UtcDateTime()),
        sa.Column("ended_at", UtcDateTime()),
        sa.Column("as_of", UtcDateTime()),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_user_name_created_at_id", "runs", ["user_name", "created_at", "id"])
    op.create_index("ix_runs_created_at_id", "runs", ["created_at", "id"])
    op.create_index("ix_runs_cluster_state", "runs", ["cluster", "state"])
    op.create_table(
        "run_scripts",
        sa.Column("run_id", sa.String(16), sa.ForeignKey("runs.id", name="fk_run_scripts_run_id_runs"), nullable=False),
        sa.Column("script", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_run_scripts"),
    )
    op.create_table(
        "run_files",
        sa.Column("run_id", sa.String(16), sa.ForeignKey("runs.id", name="fk_run_files_run_id_runs"), nullable=False),
        sa.Column("path", sa.String(1000), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "path", name="pk_run_files"),
    )
    op.create_table(
        "run_tasks",
        sa.Column("run_id", sa.String(16), sa.ForeignKey("runs.id", name="fk_run_tasks_run_id_runs"), nullable=False),
        sa.Column("task", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.BigInteger()),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("slurm_states", sa.JSON(), nullable=False),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("signal", sa.Integer()),
        sa.Column("nodes", sa.Text()),
        sa.Column("started_at", UtcDateTime()),
        sa.Column("ended_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("run_id", "task", name="pk_run_tasks"),
    )
    op.create_table(
        "run_after",
        sa.Column("run_id", sa.String(16), sa.ForeignKey("runs.id", name="fk_run_after_run_id_runs"), nullable=False),
        sa.Column("other", sa.String(16), sa.ForeignKey("runs.id", name="fk_run_after_other_runs"), nullable=False),
        sa.Column("condition", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "other", name="pk_run_after"),
    )
    op.create_table(
        "run_keys",
        sa.Column("user_name", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(16), sa.ForeignKey("runs.id", name="fk_run_keys_run_id_runs"), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_name", "key", name="pk_run_keys"),
    )
