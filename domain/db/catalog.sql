-- Every fact of the schemas :schemas and the extensions :extensions, one row each; of the schemas
-- :generated only that they exist and who may use them. :series are the tables that the registry
-- of time series names, in three arrays: ids, how they grow, the calls that make them so.
-- Read by domain/db/catalog.py, which explains the columns. Expects search_path = pg_catalog, so
-- that the server qualifies every name it prints. What an extension brought is left out.
WITH spaces AS (
  SELECT * FROM pg_namespace
  WHERE nspname = ANY (CAST(:schemas AS text[]) || CAST(:generated AS text[]))
),
scope AS (
  SELECT * FROM spaces WHERE nspname = ANY (CAST(:schemas AS text[]))
),
brought AS MATERIALIZED (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
),
relation AS MATERIALIZED (
  SELECT c.*, format('%I.%I', nspname, relname) AS name,
         format('ALTER TABLE %I.%I', nspname, relname) AS alter_table
  FROM pg_class AS c JOIN scope ON scope.oid = relnamespace
  WHERE relkind IN ('r', 'p', 'f', 'v', 'm')
    AND ('pg_class'::regclass, c.oid) NOT IN (SELECT classid, objid FROM brought)
),
tables AS (
  SELECT * FROM relation WHERE relkind IN ('r', 'p', 'f')
),
columns AS MATERIALIZED (
  SELECT a.*, name, relowner, alter_table, d.oid AS default_oid,
         format('%s ALTER COLUMN %I', alter_table, attname) AS alter_column,
         format_type(atttypid, atttypmod) AS type,
         pg_get_expr(d.adbin, d.adrelid) AS expression,
         (SELECT format(' COLLATE %s', attcollation::regcollation) FROM pg_type
          WHERE pg_type.oid = atttypid AND typcollation <> attcollation) AS collation_clause
  FROM pg_attribute AS a JOIN tables ON tables.oid = attrelid
  LEFT JOIN pg_attrdef AS d ON adrelid = attrelid AND adnum = attnum
  WHERE attnum > 0 AND NOT attisdropped
),
routine AS (
  SELECT p.*, p.oid::regprocedure::text AS signature
  FROM pg_proc AS p JOIN scope ON scope.oid = pronamespace
  WHERE prokind IN ('f', 'p', 'w')
    AND ('pg_proc'::regclass, p.oid) NOT IN (SELECT classid, objid FROM brought)
),
types AS (
  SELECT t.*, format('%I.%I', nspname, typname) AS name
  FROM pg_type AS t JOIN scope ON scope.oid = typnamespace
  LEFT JOIN pg_class AS c ON c.oid = typrelid
  WHERE (typtype IN ('e', 'd') OR typtype = 'c' AND c.relkind = 'c')
    AND ('pg_type'::regclass, t.oid) NOT IN (SELECT classid, objid FROM brought)
),
sequences AS (
  SELECT c.*, format('%I.%I', nspname, relname) AS name
  FROM pg_class AS c JOIN scope ON scope.oid = relnamespace
  WHERE relkind = 'S' AND NOT EXISTS (
    SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
      AND deptype IN ('a', 'i', 'e'))
),
-- Rights that are not the owner's: on what, in SQL, and who has them.
rights AS (
  SELECT 'pg_namespace'::regclass AS classid, oid AS objid, 0 AS subid, NULL AS relation,
         NULL::name AS column_name, format('SCHEMA %I', nspname) AS target, nspowner AS owner,
         '' AS suffix, nspacl AS acl
  FROM spaces
  UNION ALL
  SELECT 'pg_class'::regclass, oid, 0, name, NULL, format('TABLE %s', name), relowner, '', relacl
  FROM relation
  UNION ALL
  SELECT 'pg_class'::regclass, oid, 0, NULL, NULL, format('SEQUENCE %s', name), relowner, '', relacl
  FROM sequences
  UNION ALL
  SELECT 'pg_class'::regclass, attrelid, attnum, name, attname, format('TABLE %s', name), relowner,
         format(' (%I)', attname), attacl
  FROM columns
  UNION ALL
  SELECT 'pg_proc'::regclass, oid, 0, NULL, NULL, format('ROUTINE %s', signature), proowner, '',
         coalesce(proacl, acldefault('f', proowner))
  FROM routine
  UNION ALL
  SELECT 'pg_type'::regclass, oid, 0, NULL, NULL, format('TYPE %s', name), typowner, '',
         coalesce(typacl, acldefault('T', typowner))
  FROM types
),
-- What everybody has unless it is taken away: shown, and written, when it was taken away.
given_to_all AS (
  SELECT * FROM (VALUES ('pg_proc'::regclass, 'EXECUTE'), ('pg_type'::regclass, 'USAGE'))
           AS given (classid, privilege)
),
privileges AS (
  SELECT classid, objid, subid, relation, column_name, target, is_grantable,
         CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
           AS role,
         string_agg(privilege_type || suffix, ', ' ORDER BY privilege_type) AS privileges
  FROM rights, LATERAL aclexplode(acl)
  WHERE grantee <> owner AND NOT (grantee = 0 AND NOT is_grantable
    AND (rights.classid, privilege_type) IN (SELECT classid, privilege FROM given_to_all))
  GROUP BY classid, objid, subid, relation, column_name, target, is_grantable, grantee
),
fact (classid, objid, subid, kind, aspect, relation, column_name, shape, definition, create_sql,
      drop_sql) AS (
  SELECT 'pg_namespace'::regclass, oid, 0, 'schema', '', NULL, NULL::name, '', 'exists',
         ARRAY[format('CREATE SCHEMA %I', nspname)], ARRAY[format('DROP SCHEMA %I', nspname)]
  FROM spaces

  UNION ALL
  SELECT 'pg_extension'::regclass, oid, 0, 'extension', '', NULL, NULL, '', 'exists',
         ARRAY[format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA public', extname)],
         ARRAY[format('DROP EXTENSION %I', extname)]
  FROM pg_extension WHERE extname = ANY (CAST(:extensions AS text[]))

  UNION ALL
  SELECT 'pg_type'::regclass, types.oid, 0, 'type', '', NULL, NULL, typtype::text, definition,
         ARRAY[format('CREATE %s %s AS %s', word, name, definition)],
         ARRAY[format('DROP %s %s', word, name)]
  FROM types, LATERAL (
    SELECT CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END AS word,
      CASE typtype
        WHEN 'e' THEN (
          SELECT format('ENUM (%s)', string_agg(quote_literal(enumlabel), ', '
                                                ORDER BY enumsortorder))
          FROM pg_enum WHERE enumtypid = types.oid)
        WHEN 'c' THEN (
          SELECT format('(%s)', string_agg(format('%I %s', attname,
                                                  format_type(atttypid, atttypmod)), ', '
                                           ORDER BY attnum))
          FROM pg_attribute WHERE attrelid = typrelid AND attnum > 0 AND NOT attisdropped)
        ELSE concat_ws(' ', format_type(typbasetype, typtypmod), 'DEFAULT ' || typdefault,
                       CASE WHEN typnotnull THEN 'NOT NULL' END, (
          SELECT string_agg(format('CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), ' '
                            ORDER BY conname)
          FROM pg_constraint WHERE contypid = types.oid AND contype = 'c'))
      END AS definition) AS described

  UNION ALL
  SELECT 'pg_class'::regclass, oid, 0, 'sequence', '', NULL, NULL, '', definition,
         ARRAY[format('CREATE SEQUENCE %s %s', name, definition)],
         ARRAY[format('DROP SEQUENCE %s', name)]
  FROM sequences JOIN pg_sequence ON seqrelid = oid, LATERAL (
    SELECT format('AS %s INCREMENT %s MINVALUE %s MAXVALUE %s START %s CACHE %s%s',
                  format_type(seqtypid, NULL), seqincrement, seqmin, seqmax, seqstart, seqcache,
                  CASE WHEN seqcycle THEN ' CYCLE' END) AS definition) AS described

  UNION ALL
  SELECT 'pg_proc'::regclass, oid, 0, 'routine', '', NULL, NULL,
         concat(prokind, pg_get_function_arguments(oid), ' -> ', pg_get_function_result(oid)),
         pg_get_functiondef(oid), ARRAY[pg_get_functiondef(oid)],
         ARRAY[format('DROP ROUTINE %s', signature)]
  FROM routine

  UNION ALL
  SELECT 'pg_class'::regclass, oid, 0, 'table', '', name, NULL, '',
         concat_ws(' ', CASE relkind WHEN 'f' THEN 'FOREIGN' END,
                   CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END, 'TABLE',
                   CASE WHEN oid = ANY (CAST(:series AS oid[])) THEN NULL
                        ELSE 'PARTITION BY ' || pg_get_partkeydef(oid) END,
                   'PARTITION ' || pg_get_expr(relpartbound, oid)),
         '{}', '{}'
  FROM tables

  UNION ALL
  SELECT 'pg_class'::regclass, attrelid, attnum, 'column', '', name, attname, shape,
         concat(type, collation_clause, origin),
         ARRAY[format('%s ADD COLUMN %I %s%s%s', alter_table, attname, type, collation_clause,
                      origin)],
         ARRAY[format('%s DROP COLUMN %I', alter_table, attname)]
  FROM columns, LATERAL (
    SELECT CASE WHEN attgenerated = '' THEN 'plain' ELSE 'generated' END AS shape,
           CASE attgenerated
             WHEN 's' THEN format(' GENERATED ALWAYS AS (%s) STORED', expression)
             WHEN 'v' THEN format(' GENERATED ALWAYS AS (%s) VIRTUAL', expression)
           END AS origin) AS described

  UNION ALL
  SELECT 'pg_class'::regclass, attrelid, attnum, 'identity', 'identity', name, attname, '', always,
         ARRAY[format('%s ADD GENERATED %s AS IDENTITY', alter_column, always)],
         ARRAY[alter_column || ' DROP IDENTITY']
  FROM columns, LATERAL (
    SELECT CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END AS always) AS described
  WHERE attidentity <> ''

  UNION ALL
  SELECT 'pg_class'::regclass, attrelid, attnum, 'not null', 'not null', name, attname, '',
         'NOT NULL', ARRAY[alter_column || ' SET NOT NULL'],
         ARRAY[alter_column || ' DROP NOT NULL']
  FROM columns WHERE attnotnull

  UNION ALL
  SELECT 'pg_attrdef'::regclass, default_oid, 0, 'default', '', name, attname, '', expression,
         ARRAY[format('%s SET DEFAULT %s', alter_column, expression)],
         ARRAY[alter_column || ' DROP DEFAULT']
  FROM columns WHERE expression IS NOT NULL AND attgenerated = ''

  UNION ALL
  SELECT 'pg_constraint'::regclass, pg_constraint.oid, 0,
         CASE contype WHEN 'c' THEN 'check' WHEN 'f' THEN 'foreign key' WHEN 'x' THEN 'exclusion'
                      WHEN 'p' THEN 'primary key' ELSE 'unique' END,
         '', name, NULL, '', definition,
         ARRAY[format('%s ADD CONSTRAINT %I %s', alter_table, conname, definition)],
         ARRAY[format('%s DROP CONSTRAINT %I', alter_table, conname)]
  FROM pg_constraint JOIN tables ON tables.oid = conrelid,
       LATERAL pg_get_constraintdef(pg_constraint.oid) AS definition
  WHERE contype IN ('c', 'f', 'x', 'p', 'u') AND conparentid = 0 AND conislocal

  UNION ALL
  SELECT 'pg_class'::regclass, indexrelid, 0, 'index', '', name, NULL, '',
         definition || CASE WHEN indisvalid THEN '' ELSE ' -- invalid' END,
         ARRAY[definition], ARRAY[format('DROP INDEX %s', indexrelid::regclass)]
  FROM pg_index JOIN relation ON relation.oid = indrelid
       JOIN pg_class AS c ON c.oid = indexrelid AND NOT c.relispartition,
       -- Printed for partitioned tables; written like this it would leave out the partitions.
       LATERAL replace(pg_get_indexdef(indexrelid), ' ON ONLY ' || name, ' ON ' || name)
         AS definition
  WHERE NOT EXISTS (SELECT FROM pg_constraint
                    WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))

  UNION ALL
  SELECT 'pg_class'::regclass, oid, 0, 'view', '', name, NULL, relkind::text, definition,
         ARRAY[format('CREATE %s', definition)], ARRAY[format('DROP %s %s', word, name)]
  FROM relation, LATERAL (
    SELECT CASE relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END AS word) AS worded,
    LATERAL (
    SELECT format('%s %s%s AS%s', word, name,
                  ' WITH (' || array_to_string(reloptions, ', ') || ')',
                  E'\n' || rtrim(pg_get_viewdef(oid), ';')) AS definition) AS described
  WHERE relkind IN ('v', 'm')

  UNION ALL
  SELECT 'pg_trigger'::regclass, t.oid, 0, 'trigger', '', name, NULL, '',
         concat(pg_get_triggerdef(t.oid), state),
         ARRAY[pg_get_triggerdef(t.oid), alter_table || state || format(' TRIGGER %I', tgname)],
         ARRAY[format('DROP TRIGGER %I ON %s', tgname, name)]
  FROM pg_trigger AS t JOIN relation ON relation.oid = tgrelid, LATERAL (
    SELECT CASE tgenabled WHEN 'D' THEN ' DISABLE' WHEN 'R' THEN ' ENABLE REPLICA'
                          WHEN 'A' THEN ' ENABLE ALWAYS' END AS state) AS described
  WHERE NOT tgisinternal AND tgparentid = 0

  UNION ALL
  SELECT 'pg_rewrite'::regclass, r.oid, 0, 'rule', '', name, NULL, '', pg_get_ruledef(r.oid),
         ARRAY[pg_get_ruledef(r.oid)], ARRAY[format('DROP RULE %I ON %s', rulename, name)]
  FROM pg_rewrite AS r JOIN relation ON relation.oid = ev_class
  WHERE rulename <> '_RETURN'

  UNION ALL
  SELECT 'pg_class'::regclass, oid, 0, 'row security', 'row security', name, NULL, '',
         concat_ws(', ', CASE WHEN relrowsecurity THEN 'enabled' END,
                   CASE WHEN relforcerowsecurity THEN 'forced' END),
         ARRAY[CASE WHEN relrowsecurity THEN alter_table || ' ENABLE ROW LEVEL SECURITY' END,
               CASE WHEN relforcerowsecurity THEN alter_table || ' FORCE ROW LEVEL SECURITY' END],
         ARRAY[CASE WHEN relforcerowsecurity THEN alter_table || ' NO FORCE ROW LEVEL SECURITY' END,
               CASE WHEN relrowsecurity THEN alter_table || ' DISABLE ROW LEVEL SECURITY' END]
  FROM tables WHERE relrowsecurity OR relforcerowsecurity

  UNION ALL
  SELECT 'pg_policy'::regclass, p.oid, 0, 'policy', '', name, NULL, '', definition,
         ARRAY[format('CREATE POLICY %I ON %s %s', polname, name, definition)],
         ARRAY[format('DROP POLICY %I ON %s', polname, name)]
  FROM pg_policy AS p JOIN tables ON tables.oid = polrelid, LATERAL (
    SELECT concat_ws(' ',
      CASE WHEN polpermissive THEN 'AS PERMISSIVE' ELSE 'AS RESTRICTIVE' END,
      CASE polcmd WHEN 'r' THEN 'FOR SELECT' WHEN 'a' THEN 'FOR INSERT' WHEN 'w' THEN 'FOR UPDATE'
                  WHEN 'd' THEN 'FOR DELETE' ELSE 'FOR ALL' END,
      'TO ' || (SELECT string_agg(CASE WHEN role = 0 THEN 'PUBLIC'
                                       ELSE quote_ident(pg_get_userbyid(role)) END, ', '
                                  ORDER BY pg_get_userbyid(role)) FROM unnest(polroles) AS role),
      'USING (' || pg_get_expr(polqual, polrelid) || ')',
      'WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')') AS definition) AS described

  UNION ALL
  SELECT 'pg_class'::regclass, oid, 0, 'time series', 'time series', name, NULL, '', definition,
         ARRAY[create_sql], ARRAY[format('SELECT timeseries.revert(%L)', name)]
  FROM unnest(CAST(:series AS oid[]), CAST(:series_definitions AS text[]),
              CAST(:series_creates AS text[])) AS s (relation_oid, definition, create_sql)
       JOIN tables ON tables.oid = relation_oid

  UNION ALL
  SELECT 'pg_class'::regclass, oid, 0, 'storage', 'storage parameters', name, NULL, '', options,
         ARRAY[format('%s SET (%s)', alter_table, options)],
         ARRAY[format('%s RESET (%s)', alter_table, names)]
  FROM tables, LATERAL (
    SELECT string_agg(option, ', ' ORDER BY option) AS options,
           string_agg(split_part(option, '=', 1), ', ' ORDER BY option) AS names
    FROM unnest(reloptions) AS option) AS described
  WHERE options IS NOT NULL

  UNION ALL
  SELECT 'pg_statistic_ext'::regclass, s.oid, 0, 'statistics', '', name, NULL, '', definition,
         ARRAY[definition], ARRAY[format('DROP STATISTICS %I.%I', nspname, stxname)]
  FROM pg_statistic_ext AS s JOIN scope ON scope.oid = stxnamespace
       JOIN relation ON relation.oid = stxrelid,
       LATERAL pg_get_statisticsobjdef(s.oid) AS definition

  UNION ALL
  SELECT classid, objid, subid, 'grant',
         concat('grant to ', role, CASE WHEN is_grantable THEN ' with grant option' END),
         relation, column_name, '', privileges,
         ARRAY[concat('GRANT ', privileges, ' ON ', target, ' TO ', role,
                      CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)],
         ARRAY[format('REVOKE %s ON %s FROM %s', privileges, target, role)]
  FROM privileges

  UNION ALL
  SELECT classid, objid, 0, 'grant', 'no right for everybody', NULL, NULL, '', privilege,
         ARRAY[format('REVOKE %s ON %s FROM PUBLIC', privilege, target)],
         ARRAY[format('GRANT %s ON %s TO PUBLIC', privilege, target)]
  FROM rights JOIN given_to_all USING (classid)
  WHERE NOT EXISTS (SELECT FROM aclexplode(acl)
                    WHERE grantee = 0 AND privilege_type = privilege)
)
SELECT kind, relation, column_name, shape, definition, create_sql, drop_sql,
       classid::oid::bigint AS classid, objid::bigint AS objid, subid::int AS subid,
       concat_ws(' on ', nullif(aspect, ''), concat_ws(' ', type, identity)) AS name
FROM fact, LATERAL pg_identify_object(classid, objid, subid)
