"""Webhooks and their outbox, the audit log, who may raise a priority, which daemons are alive.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('audit_log',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('key_id', sa.Text(), nullable=False),
    sa.Column('client', sa.Text(), nullable=False),
    sa.Column('role', sa.Enum('client', 'viewer', 'operator', 'admin', name='role', native_enum=False, create_constraint=True, length=16), nullable=False),
    sa.Column('action', sa.Text(), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('data', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_log'))
    )
    op.create_index('ix_audit_log__subject', 'audit_log', ['subject', sa.literal_column('id DESC')], unique=False)
    op.create_table('daemons',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('kind', sa.Enum('sweeper', 'dispatcher', name='daemonkind', native_enum=False, create_constraint=True, length=16), nullable=False),
    sa.Column('host', sa.Text(), nullable=False),
    sa.Column('pid', sa.Integer(), nullable=False),
    sa.Column('working_since', sa.DateTime(timezone=True), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_daemons'))
    )
    op.create_table('webhook_endpoints',
    sa.Column('id', sa.Uuid(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('client_id', sa.Uuid(), nullable=False),
    sa.Column('url', sa.Text(), nullable=False),
    sa.Column('scope', sa.Enum('all', 'named', name='endpointscope', native_enum=False, create_constraint=True, length=16), nullable=False),
    sa.Column('events', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('secret', sa.Text(), nullable=False),
    sa.Column('previous_secret', sa.Text(), nullable=True),
    sa.Column('previous_secret_expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('enabled', sa.Boolean(), server_default=sa.text('true'), nullable=False),
    sa.Column('disabled_reason', sa.Text(), nullable=True),
    sa.Column('failing_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('(previous_secret IS NULL) = (previous_secret_expires_at IS NULL)', name=op.f('ck_webhook_endpoints__previous_secret_expires')),
    sa.CheckConstraint('enabled = (disabled_reason IS NULL)', name=op.f('ck_webhook_endpoints__disabled_has_reason')),
    sa.ForeignKeyConstraint(['client_id'], ['clients.id'], name=op.f('fk_webhook_endpoints__client_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_endpoints'))
    )
    op.create_index('uq_webhook_endpoints__all_url', 'webhook_endpoints', ['client_id', 'url'], unique=True, postgresql_where=sa.text("scope = 'all'"))
    op.create_index('uq_webhook_endpoints__named_url', 'webhook_endpoints', ['client_id', 'url'], unique=True, postgresql_where=sa.text("scope = 'named'"))
    op.create_index('ix_webhook_endpoints__client', 'webhook_endpoints', ['client_id', 'id'], unique=False)
    op.create_table('webhook_messages',
    sa.Column('id', sa.Uuid(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('job_id', sa.Uuid(), nullable=True),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('payload', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_webhook_messages__job_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_messages')),
    sa.UniqueConstraint('job_id', 'kind', name=op.f('uq_webhook_messages__job_id_kind'))
    )
    op.create_table('webhook_deliveries',
    sa.Column('id', sa.Uuid(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('message_id', sa.Uuid(), nullable=False),
    sa.Column('endpoint_id', sa.Uuid(), nullable=False),
    sa.Column('state', sa.Enum('pending', 'delivered', 'failed', name='deliverystate', native_enum=False, create_constraint=True, length=16), server_default='pending', nullable=False),
    sa.Column('tries', sa.SmallInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('earlier_tries', sa.SmallInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('available_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('lease_owner', sa.Text(), nullable=True),
    sa.Column('lease_expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name=op.f('ck_webhook_deliveries__ended_has_finished_at')),
    sa.CheckConstraint("lease_owner IS NULL OR state = 'pending'", name=op.f('ck_webhook_deliveries__only_pending_is_leased')),
    sa.CheckConstraint('(lease_owner IS NULL) = (lease_expires_at IS NULL)', name=op.f('ck_webhook_deliveries__lease_is_whole')),
    sa.ForeignKeyConstraint(['endpoint_id'], ['webhook_endpoints.id'], name=op.f('fk_webhook_deliveries__endpoint_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['message_id'], ['webhook_messages.id'], name=op.f('fk_webhook_deliveries__message_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_deliveries')),
    sa.UniqueConstraint('message_id', 'endpoint_id', name=op.f('uq_webhook_deliveries__message_id_endpoint_id'))
    )
    op.create_index('ix_webhook_deliveries__due', 'webhook_deliveries', ['endpoint_id', 'available_at'], unique=False, postgresql_where=sa.text("state = 'pending'"))
    op.create_index('ix_webhook_deliveries__leased', 'webhook_deliveries', ['endpoint_id'], unique=False, postgresql_where=sa.text('lease_owner IS NOT NULL'))
    op.create_index('ix_webhook_deliveries__endpoint', 'webhook_deliveries', ['endpoint_id', 'id'], unique=False)
    op.create_index('ix_webhook_deliveries__endpoint_state', 'webhook_deliveries', ['endpoint_id', 'state', 'id'], unique=False)
    op.create_table('webhook_attempts',
    sa.Column('delivery_id', sa.Uuid(), nullable=False),
    sa.Column('number', sa.SmallInteger(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('seconds', sa.Float(), nullable=False),
    sa.Column('status_code', sa.Integer(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['delivery_id'], ['webhook_deliveries.id'], name=op.f('fk_webhook_attempts__delivery_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('delivery_id', 'number', name=op.f('pk_webhook_attempts'))
    )
    op.add_column('clients', sa.Column('max_priority', sa.SmallInteger(), server_default=sa.text('0'), nullable=False))
    op.add_column('jobs', sa.Column('webhook_endpoint_id', sa.Uuid(), nullable=True))
    op.add_column('jobs', sa.Column('webhook_events', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True))


def downgrade() -> None:
    op.drop_column('jobs', 'webhook_events')
    op.drop_column('jobs', 'webhook_endpoint_id')
    op.drop_column('clients', 'max_priority')
    op.drop_table('webhook_attempts')
    op.drop_index('ix_webhook_deliveries__endpoint_state', table_name='webhook_deliveries')
    op.drop_index('ix_webhook_deliveries__endpoint', table_name='webhook_deliveries')
    op.drop_index('ix_webhook_deliveries__leased', table_name='webhook_deliveries', postgresql_where=sa.text('lease_owner IS NOT NULL'))
    op.drop_index('ix_webhook_deliveries__due', table_name='webhook_deliveries', postgresql_where=sa.text("state = 'pending'"))
    op.drop_table('webhook_deliveries')
    op.drop_table('webhook_messages')
    op.drop_index('ix_webhook_endpoints__client', table_name='webhook_endpoints')
    op.drop_index('uq_webhook_endpoints__named_url', table_name='webhook_endpoints', postgresql_where=sa.text("scope = 'named'"))
    op.drop_index('uq_webhook_endpoints__all_url', table_name='webhook_endpoints', postgresql_where=sa.text("scope = 'all'"))
    op.drop_table('webhook_endpoints')
    op.drop_table('daemons')
    op.drop_index('ix_audit_log__subject', table_name='audit_log')
    op.drop_table('audit_log')
