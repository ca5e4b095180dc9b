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
    // The last word of each instance that still runs, of each API and project, however long ago it was said. What was
    // said of a whole API since then is the last word of its projects too.
    query: '''
      let running = requests | where timestamp > ago(15m) | distinct cloud_RoleInstance;
      let words = traces
      | where message contains 'calls are suspended' or message contains 'calls are resumed'
      | extend api = tostring(split(message, ':')[0])
      | extend scope = extract(@'calls are (?:suspended|resumed) for (.+?)(?: after [0-9.]+ s$|: )', 1, message);
      words
      | summarize arg_max(timestamp, message) by cloud_RoleInstance, api, scope
      | join kind=leftouter (
          words | where scope == '' | summarize ofAllAt = max(timestamp) by cloud_RoleInstance, api
        ) on cloud_RoleInstance, api
      | where message contains 'calls are suspended' and timestamp < ago(5m)
      | where isnull(ofAllAt) or timestamp >= ofAllAt
      | where cloud_RoleInstance in (running)
      | project api, scope, cloud_RoleInstance, suspendedAt = timestamp, message
    '''
    operator: 'GreaterThan'
    windowSize: 'PT15M'
    range: 'P1D'
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
    description: 'The timer has not run for an hour. The app does not start (a wrong setting?) or sends no telemetry.'
    severity: 1
    query: '''
      requests
      | where name == 'poll_training_status'
    '''
    operator: 'LessThan'
    windowSize: 'PT1H'
    range: 'PT1H'
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
