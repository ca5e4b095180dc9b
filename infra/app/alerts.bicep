// What wakes somebody. docs/operations.md says what to do about each. A rule that looks every 15 minutes costs a third
// of one that looks every 5, and messages wait without harm.
param token string
param location string
param tags object
param applicationInsightsName string

@description('Whom alerts are mailed to; empty: alerts are only shown.')
param email string
param oldestMessageMinutes int

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource mail 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'ag-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'visionrelay'
    enabled: true
    emailReceivers: [
      {
        name: 'operator'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

// The phrases are those of the app's and the host's log lines; a test compares them with the code.
var rules = [
  {
    name: 'dead-letters'
    title: 'Vision Relay: messages are dead-lettered'
    description: 'Somebody sent what cannot be applied. The dead letters say why; mend and redrive them, or drop them.'
    severity: 3
    query: '''
      traces
      | where message contains 'is dead-lettered'
    '''
    operator: 'GreaterThan'
    windowSize: 'PT15M'
    range: 'PT15M'
  }
  {
    name: 'calls-suspended'
    title: 'Vision Relay: calls are suspended'
    description: 'An API cannot be reached or refuses the app. Messages wait; the log line gives the service\'s own sentence.'
    severity: 2
    // The app says the line again each hour, so two hours have it, late as it may come. It counts for an instance that
    // still runs, from five minutes on, until its scope is resumed, or anything is said of the whole API later.
    query: '''
      let running = union customMetrics, traces | where timestamp > ago(15m) | distinct cloud_RoleInstance;
      let words = traces
      | where message contains 'calls are suspended' or message contains 'calls are resumed'
      | where cloud_RoleInstance in (running)
      | extend api = tostring(split(message, ':')[0])
      | extend scope = extract(@'calls are (?:suspended|resumed) for (.+?)(?: after [0-9.]+ s$|: )', 1, message);
      words
      | where message contains 'calls are suspended'
      | join kind=leftouter (
          words | where message contains 'calls are resumed'
          | summarize resumedAt = max(timestamp) by cloud_RoleInstance, api, scope
        ) on cloud_RoleInstance, api, scope
      | join kind=leftouter (
          words | where scope == '' | summarize ofAllAt = max(timestamp) by cloud_RoleInstance, api
        ) on cloud_RoleInstance, api
      | where isnull(resumedAt) or timestamp > resumedAt
      | where scope == '' or isnull(ofAllAt) or timestamp > ofAllAt
      | summarize suspendedAt = min(timestamp), arg_max(timestamp, message) by cloud_RoleInstance, api, scope
      | where suspendedAt < ago(5m)
      | project api, scope, cloud_RoleInstance, suspendedAt, message
    '''
    operator: 'GreaterThan'
    windowSize: 'PT15M'
    range: 'PT2H'
  }
  {
    name: 'oldest-message'
    title: 'Vision Relay: a message has waited too long'
    description: 'The updates queue is longer than the API\'s rate can empty in time, or messages come back again and again.'
    severity: 2
    query: '''
      traces
      | where message startswith 'a message has waited'
      | extend seconds = toint(extract(@'has waited (\d+) s', 1, message))
      | where seconds > {minutes} * 60
    '''
    operator: 'GreaterThan'
    windowSize: 'PT15M'
    range: 'PT15M'
  }
  {
    name: 'host-poison'
    title: 'Vision Relay: the host gave a message up'
    description: 'A message came back as often as host.json allows: an outage of about a day. It is in the dead-letter queue for 7 days.'
    severity: 1
    query: '''
      traces
      | where message startswith 'Message has reached MaxDequeueCount'
    '''
    operator: 'GreaterThan'
    windowSize: 'PT15M'
    range: 'PT15M'
  }
  {
    name: 'silence'
    title: 'Vision Relay: nothing runs'
    description: 'The timer has not run for two hours. The app does not start (a wrong setting?) or sends no telemetry.'
    severity: 1
    // The host's own line. An hourly schedule has one in any two hours, though it comes late.
    query: '''
      traces
      | where message startswith "Executed 'Functions.poll_training_status'"
    '''
    operator: 'LessThan'
    windowSize: 'PT2H'
    range: 'PT2H'
  }
]

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: 'alert-${rule.name}-${token}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: rule.title
      description: rule.description
      enabled: true
      severity: rule.severity
      scopes: [applicationInsights.id]
      evaluationFrequency: 'PT15M'
      windowSize: rule.windowSize
      overrideQueryTimeRange: rule.range
      autoMitigate: true
      // The tables come into being with the first telemetry.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: replace(rule.query, '{minutes}', string(oldestMessageMinutes))
            timeAggregation: 'Count'
            operator: rule.operator
            threshold: rule.operator == 'LessThan' ? 1 : 0
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: empty(email) ? [] : [mail.id]
      }
    }
  }
]
