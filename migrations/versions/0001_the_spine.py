"""The spine: clients, keys, checkpoints, workers, jobs, attempts, events, artifacts, uploads.

Revision ID: 0001
Revises: 
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('checkpoints',
    sa.Column('id', sa.Uuid(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('family', sa.Text(), nullable=False),
    sa.Column('tasks', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('pool', sa.Enum('gpu', 'cpu', name='pool', native_enum=False, create_constraint=True, length=16), nullable=False),
    sa.Column('source', sa.Enum('local', 'hub', 's3', name='source', native_enum=False, create_constraint=True, length=16), nullable=False),
    sa.Column('location', sa.Text(), nullable=False),
    sa.Column('revision', sa.Text(), nullable=False),
    sa.Column('files', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('profile_json', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('licence', sa.Text(), server_default='', nullable=False),
    sa.Column('description', sa.Text(), server_default='', nullable=False),
    sa.Column('enabled', sa.Boolean(), server_default=sa.text('true'), nullable=False),
    sa.Column('seconds_per_step', sa.Float(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_checkpoints'))
    )
    op.create_index('uq_checkpoints__name_enabled', 'checkpoints', ['name'], unique=True, postgresql_where=sa.text('enabled'))
    op.create_table('clients',
    sa.Column('id', sa.Uuid(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('weight', sa.Float(), server_default=sa.text('1'), nullable=False),
    sa.Column('max_live_jobs', sa.Integer(), nullable=False),
    sa.Column('live_jobs', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('finish_tag', sa.Float(), server_default=sa.text('0'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('live_jobs >= 0', name=op.f('ck_clients__live_jobs')),
    sa.CheckConstraint('weight > 0', name=op.f('ck_clients__weight')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_clients')),
    sa.UniqueConstraint('name', name=op.f('uq_clients__name'))
    )
    op.create_table('fair_clocks',
    sa.Column('pool', sa.Enum('gpu', 'cpu', name='pool', native_enum=False, create_constraint=True, length=16), nullable=False),
    sa.Column('virtual_time', sa.Float(), server_default=sa.text('0'), nullable=False),
    sa.PrimaryKeyConstraint('pool', name=op.f('pk_fair_clocks'))
    )
    op.create_table('workers',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('pool', sa.Enum('gpu', 'cpu', name='pool', native_enum=False, create_constraint=True, length=16), nullable=False),
    sa.Column('host', sa.Text(), nullable=False),
    sa.Column('pid', sa.Integer(), nullable=False),
    sa.Column('device', sa.Text(), nullable=False),
    sa.Column('resident', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('info', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_workers'))
    )
    op.create_index('ix_workers__pool_seen_at', 'workers', ['pool', 'seen_at'], unique=False)
    op.create_table('api_keys',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('client_id', sa.Uuid(), nullable=False),
    sa.Column('secret_sha256', sa.LargeBinary(), nullable=False),
    sa.Column('role', sa.Enum('client', 'viewer', 'operator', 'admin', name='role', native_enum=False, create_constraint=True, length=16), nullable=False),
    sa.Column('name', sa.Text(), server_default='', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['client_id'], ['clients.id'], name=op.f('fk_api_keys__client_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_keys'))
    )
    op.create_index('ix_api_keys__client_id', 'api_keys', ['client_id'], unique=False)
    op.create_table('jobs',
    sa.Column('id', sa.Uuid(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('client_id', sa.Uuid(), nullable=False),
    sa.Column('state', sa.Enum('waiting', 'queued', 'running', 'succeeded', 'failed', 'canceled', 'expired', name='jobstate', native_enum=False, create_constraint=True, length=16), nullable=False),
    sa.Column('task', sa.Text(), nullable=False),
    sa.Column('checkpoint_id', sa.Uuid(), nullable=False),
    sa.Column('pool', sa.Enum('gpu', 'cpu', name='pool', native_enum=False, create_constraint=True, length=16), nullable=False),
    sa.Column('params', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('tag', sa.Text(), nullable=True),
    sa.Column('lane', sa.SmallInteger(), nullable=False),
    sa.Column('priority', sa.SmallInteger(), nullable=False),
    sa.Column('start_tag', sa.Float(), nullable=False),
    sa.Column('cost', sa.BigInteger(), nullable=False),
    sa.Column('images', sa.SmallInteger(), nullable=False),
    sa.Column('batch_key', sa.Text(), nullable=False),
    sa.Column('isolate', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('reproducible', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('available_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('deadline_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('attempt', sa.SmallInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('lease_owner', sa.Text(), nullable=True),
    sa.Column('lease_expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('cancel_requested', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('crash_count', sa.SmallInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('error_count', sa.SmallInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('infrastructure_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('result', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('error_code', sa.Text(), nullable=True),
    sa.Column('error_detail', sa.Text(), nullable=True),
    sa.Column('idempotency_key', sa.Text(), nullable=True),
    sa.Column('request_sha256', sa.LargeBinary(), nullable=True),
    sa.Column('source_job_id', sa.Uuid(), nullable=True),
    sa.Column('retention_seconds', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('results_expire_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('results_deleted_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name=op.f('ck_jobs__failed_has_code')),
    sa.CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL)", name=op.f('ck_jobs__running_has_owner')),
    sa.CheckConstraint("(state = 'succeeded') = (result IS NOT NULL)", name=op.f('ck_jobs__succeeded_has_result')),
    sa.CheckConstraint("(state IN ('succeeded', 'failed', 'canceled', 'expired')) = (finished_at IS NOT NULL)", name=op.f('ck_jobs__final_has_finished_at')),
    sa.CheckConstraint('(lease_owner IS NULL) = (lease_expires_at IS NULL)', name=op.f('ck_jobs__lease_is_whole')),
    sa.CheckConstraint('cost >= 0 AND images >= 1', name=op.f('ck_jobs__cost')),
    sa.ForeignKeyConstraint(['checkpoint_id'], ['checkpoints.id'], name=op.f('fk_jobs__checkpoint_id')),
    sa.ForeignKeyConstraint(['client_id'], ['clients.id'], name=op.f('fk_jobs__client_id')),
    sa.ForeignKeyConstraint(['source_job_id'], ['jobs.id'], name=op.f('fk_jobs__source_job_id'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_jobs')),
    sa.UniqueConstraint('client_id', 'idempotency_key', name=op.f('uq_jobs__client_id_idempotency_key'))
    )
    op.create_index('ix_jobs__all', 'jobs', [sa.literal_column('created_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index('ix_jobs__all_state', 'jobs', ['state', sa.literal_column('created_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index('ix_jobs__claim', 'jobs', ['pool', 'lane', sa.literal_column('priority DESC'), 'start_tag', 'id'], unique=False, postgresql_where=sa.text("state = 'queued'"))
    op.create_index('ix_jobs__claim_checkpoint', 'jobs', ['pool', 'checkpoint_id', 'lane', sa.literal_column('priority DESC'), 'start_tag', 'id'], unique=False, postgresql_where=sa.text("state = 'queued'"))
    op.create_index('ix_jobs__claim_mates', 'jobs', ['batch_key', 'lane', sa.literal_column('priority DESC'), 'start_tag', 'id'], unique=False, postgresql_where=sa.text("state = 'queued'"))
    op.create_index('ix_jobs__deadline', 'jobs', ['deadline_at'], unique=False, postgresql_where=sa.text("state = 'queued' AND deadline_at IS NOT NULL"))
    op.create_index('ix_jobs__idempotency_age', 'jobs', ['created_at'], unique=False, postgresql_where=sa.text('idempotency_key IS NOT NULL'))
    op.create_index('ix_jobs__list', 'jobs', ['client_id', sa.literal_column('created_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index('ix_jobs__list_checkpoint', 'jobs', ['client_id', 'checkpoint_id', sa.literal_column('created_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index('ix_jobs__list_state', 'jobs', ['client_id', 'state', sa.literal_column('created_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index('ix_jobs__list_tag', 'jobs', ['client_id', 'tag', sa.literal_column('created_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index('ix_jobs__list_task', 'jobs', ['client_id', 'task', sa.literal_column('created_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index('ix_jobs__retention', 'jobs', ['results_expire_at'], unique=False, postgresql_where=sa.text('results_deleted_at IS NULL'))
    op.create_index('ix_jobs__source', 'jobs', ['source_job_id'], unique=False, postgresql_where=sa.text('source_job_id IS NOT NULL'))
    op.create_table('uploads',
    sa.Column('id', sa.Uuid(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('client_id', sa.Uuid(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('sha256', sa.Text(), nullable=False),
    sa.Column('media_type', sa.Text(), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('width', sa.Integer(), nullable=False),
    sa.Column('height', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['client_id'], ['clients.id'], name=op.f('fk_uploads__client_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_uploads')),
    sa.UniqueConstraint('key', name=op.f('uq_uploads__key'))
    )
    op.create_index('ix_uploads__client_id_created_at', 'uploads', ['client_id', 'created_at'], unique=False)
    op.create_index(op.f('ix_uploads__expires_at'), 'uploads', ['expires_at'], unique=False)
    op.create_table('artifacts',
    sa.Column('id', sa.Uuid(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('job_id', sa.Uuid(), nullable=False),
    sa.Column('attempt', sa.SmallInteger(), nullable=False),
    sa.Column('index', sa.SmallInteger(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('sha256', sa.Text(), nullable=False),
    sa.Column('media_type', sa.Text(), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('width', sa.Integer(), nullable=False),
    sa.Column('height', sa.Integer(), nullable=False),
    sa.Column('seed', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_artifacts__job_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_artifacts')),
    sa.UniqueConstraint('job_id', 'index', name=op.f('uq_artifacts__job_id_index')),
    sa.UniqueConstraint('key', name=op.f('uq_artifacts__key'))
    )
    op.create_index(op.f('ix_artifacts__sha256'), 'artifacts', ['sha256'], unique=False)
    op.create_table('attempts',
    sa.Column('job_id', sa.Uuid(), nullable=False),
    sa.Column('number', sa.SmallInteger(), nullable=False),
    sa.Column('worker', sa.Text(), nullable=False),
    sa.Column('outcome', sa.Enum('running', 'succeeded', 'failed', 'retried', 'lost', 'drained', 'canceled', name='attemptoutcome', native_enum=False, create_constraint=True, length=16), server_default='running', nullable=False),
    sa.Column('batch_jobs', sa.SmallInteger(), nullable=False),
    sa.Column('error_code', sa.Text(), nullable=True),
    sa.Column('error_detail', sa.Text(), nullable=True),
    sa.Column('measures', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("(outcome = 'running') = (finished_at IS NULL)", name=op.f('ck_attempts__ended_has_finished_at')),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_attempts__job_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('job_id', 'number', name=op.f('pk_attempts'))
    )
    op.create_table('job_events',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('job_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('data', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_job_events__job_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_job_events'))
    )
    op.create_index('ix_job_events__job_id_id', 'job_events', ['job_id', 'id'], unique=False)
    op.execute("INSERT INTO fair_clocks (pool) VALUES ('gpu'), ('cpu')")


def downgrade() -> None:
    op.drop_index('ix_job_events__job_id_id', table_name='job_events')
    op.drop_table('job_events')
    op.drop_table('attempts')
    op.drop_index(op.f('ix_artifacts__sha256'), table_name='artifacts')
    op.drop_table('artifacts')
    op.drop_index(op.f('ix_uploads__expires_at'), table_name='uploads')
    op.drop_index('ix_uploads__client_id_created_at', table_name='uploads')
    op.drop_table('uploads')
    op.drop_index('ix_jobs__source', table_name='jobs', postgresql_where=sa.text('source_job_id IS NOT NULL'))
    op.drop_index('ix_jobs__retention', table_name='jobs', postgresql_where=sa.text('results_deleted_at IS NULL'))
    op.drop_index('ix_jobs__list_task', table_name='jobs')
    op.drop_index('ix_jobs__list_tag', table_name='jobs')
    op.drop_index('ix_jobs__list_state', table_name='jobs')
    op.drop_index('ix_jobs__list_checkpoint', table_name='jobs')
    op.drop_index('ix_jobs__list', table_name='jobs')
    op.drop_index('ix_jobs__idempotency_age', table_name='jobs', postgresql_where=sa.text('idempotency_key IS NOT NULL'))
    op.drop_index('ix_jobs__deadline', table_name='jobs', postgresql_where=sa.text("state = 'queued' AND deadline_at IS NOT NULL"))
    op.drop_index('ix_jobs__claim_mates', table_name='jobs', postgresql_where=sa.text("state = 'queued'"))
    op.drop_index('ix_jobs__claim_checkpoint', table_name='jobs', postgresql_where=sa.text("state = 'queued'"))
    op.drop_index('ix_jobs__claim', table_name='jobs', postgresql_where=sa.text("state = 'queued'"))
    op.drop_index('ix_jobs__all_state', table_name='jobs')
    op.drop_index('ix_jobs__all', table_name='jobs')
    op.drop_table('jobs')
    op.drop_index('ix_api_keys__client_id', table_name='api_keys')
    op.drop_table('api_keys')
    op.drop_index('ix_workers__pool_seen_at', table_name='workers')
    op.drop_table('workers')
    op.drop_table('fair_clocks')
    op.drop_table('clients')
    op.drop_index('uq_checkpoints__name_enabled', table_name='checkpoints', postgresql_where=sa.text('enabled'))
    op.drop_table('checkpoints')
