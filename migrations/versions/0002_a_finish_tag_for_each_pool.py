"""A client's finish tag for each pool: their clocks run apart.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column('clients', 'finish_tag', new_column_name='gpu_finish_tag')
    op.add_column('clients', sa.Column('cpu_finish_tag', sa.Float(), server_default=sa.text('0'), nullable=False))


def downgrade() -> None:
    op.drop_column('clients', 'cpu_finish_tag')
    op.alter_column('clients', 'gpu_finish_tag', new_column_name='finish_tag')
