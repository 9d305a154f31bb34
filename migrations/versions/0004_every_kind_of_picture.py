"""Chains, files beside pictures, data sets, packaged checkpoints, safety and provenance.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

JSONB = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
OLD_SOURCES = "source IN ('local', 'hub', 's3')"
NEW_SOURCES = "source IN ('local', 'hub', 's3', 'package', 'builtin')"


def upgrade() -> None:
    op.create_table('job_needs',
    sa.Column('job_id', sa.Uuid(), nullable=False),
    sa.Column('needs_id', sa.Uuid(), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_job_needs__job_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['needs_id'], ['jobs.id'], name=op.f('fk_job_needs__needs_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('job_id', 'needs_id', name=op.f('pk_job_needs'))
    )
    op.create_index(op.f('ix_job_needs__needs_id'), 'job_needs', ['needs_id'], unique=False)

    op.add_column('jobs', sa.Column('reproduces', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.add_column('jobs', sa.Column('chain_id', sa.Uuid(), nullable=True))
    op.add_column('jobs', sa.Column('embed_prompt', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.create_index('ix_jobs__chain', 'jobs', ['chain_id'], unique=False, postgresql_where=sa.text('chain_id IS NOT NULL'))
    op.drop_index('ix_jobs__deadline', table_name='jobs')
    op.create_index('ix_jobs__deadline', 'jobs', ['deadline_at'], unique=False,
        postgresql_where=sa.text("state IN ('queued', 'waiting') AND deadline_at IS NOT NULL"))

    op.add_column('artifacts', sa.Column('name', sa.Text(), nullable=True))
    op.add_column('artifacts', sa.Column('pixels_sha256', sa.Text(), nullable=True))
    op.create_index(op.f('ix_artifacts__pixels_sha256'), 'artifacts', ['pixels_sha256'], unique=False)
    for column, kind in (('width', sa.Integer()), ('height', sa.Integer()), ('seed', sa.BigInteger())):
        op.alter_column('artifacts', column, existing_type=kind, nullable=True)

    op.add_column('uploads', sa.Column('kind', sa.Enum('picture', 'data_set', name='uploadkind', native_enum=False,
        create_constraint=True, length=16), server_default='picture', nullable=False))
    op.add_column('uploads', sa.Column('details', JSONB, nullable=True))
    for column in ('width', 'height'):
        op.alter_column('uploads', column, existing_type=sa.Integer(), nullable=True)

    op.add_column('clients', sa.Column('safety_threshold', sa.Float(), nullable=True))
    op.add_column('clients', sa.Column('blocked_words', JSONB, nullable=True))
    op.create_check_constraint(op.f('ck_clients__safety_threshold'), 'clients', 'safety_threshold BETWEEN 0 AND 1')

    op.add_column('checkpoints', sa.Column('made_by_job_id', sa.Uuid(), nullable=True))
    op.drop_constraint(op.f('ck_checkpoints__source'), 'checkpoints', type_='check')
    op.create_check_constraint(op.f('ck_checkpoints__source'), 'checkpoints', NEW_SOURCES)


def downgrade() -> None:
    # Jobs point at them, so they stay; the older version finds no folder and says so.
    op.execute("UPDATE checkpoints SET enabled = false, source = 'local' WHERE source IN ('package', 'builtin')")
    op.drop_constraint(op.f('ck_checkpoints__source'), 'checkpoints', type_='check')
    op.create_check_constraint(op.f('ck_checkpoints__source'), 'checkpoints', OLD_SOURCES)
    op.drop_column('checkpoints', 'made_by_job_id')

    op.drop_constraint(op.f('ck_clients__safety_threshold'), 'clients', type_='check')
    op.drop_column('clients', 'blocked_words')
    op.drop_column('clients', 'safety_threshold')

    op.execute("DELETE FROM uploads WHERE kind = 'data_set'")
    for column in ('width', 'height'):
        op.alter_column('uploads', column, existing_type=sa.Integer(), nullable=False)
    op.drop_column('uploads', 'details')
    op.drop_column('uploads', 'kind')

    # The older version knows pictures alone.
    op.execute('DELETE FROM artifacts WHERE width IS NULL OR height IS NULL')
    op.execute('UPDATE artifacts SET seed = 0 WHERE seed IS NULL')
    for column, kind in (('width', sa.Integer()), ('height', sa.Integer()), ('seed', sa.BigInteger())):
        op.alter_column('artifacts', column, existing_type=kind, nullable=False)
    op.drop_index(op.f('ix_artifacts__pixels_sha256'), table_name='artifacts')
    op.drop_column('artifacts', 'pixels_sha256')
    op.drop_column('artifacts', 'name')

    # What waits for another job waits for ever where nothing knows how to wake it.
    op.execute("""
        WITH ended AS (
            UPDATE jobs SET state = 'failed', error_code = 'upstream_failed', finished_at = now(),
                error_detail = 'The server went back to a version without chains.'
            WHERE state = 'waiting' RETURNING client_id
        )
        UPDATE clients SET live_jobs = live_jobs - ended.jobs
        FROM (SELECT client_id, count(*) AS jobs FROM ended GROUP BY client_id) AS ended WHERE clients.id = ended.client_id
    """)
    op.drop_index('ix_jobs__deadline', table_name='jobs')
    op.create_index('ix_jobs__deadline', 'jobs', ['deadline_at'], unique=False,
        postgresql_where=sa.text("state = 'queued' AND deadline_at IS NOT NULL"))
    op.drop_index('ix_jobs__chain', table_name='jobs')
    op.drop_column('jobs', 'embed_prompt')
    op.drop_column('jobs', 'chain_id')
    op.drop_column('jobs', 'reproduces')
    op.drop_index(op.f('ix_job_needs__needs_id'), table_name='job_needs')
    op.drop_table('job_needs')
